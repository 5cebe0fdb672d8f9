"""The bars that ship with the project: five symbols, 2000-03-01 to 2013-03-01 (data/sample/)."""

import csv
import gzip
import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from etl.base.errors import SourceError, UnknownSymbol
from etl.contracts.deliveries import Delivery
from etl.settings import PROJECT_ROOT, Settings
from etl.sources import build_actions, build_bars

SAMPLE_DIR = PROJECT_ROOT / "data" / "sample"
# When the package that the bars come from was released (see data/sample/README.md).
FETCHED_AT = datetime(2026, 10, 21)  # noqa: DTZ001


class Sample:
    def __init__(self, symbols: tuple[str, ...], folder: Path = SAMPLE_DIR) -> None:
        self.symbols = symbols
        self.folder = folder
        self.count = len(symbols)
        self.notes: dict[str, Any] = {}

    def fetch(self) -> Iterator[Delivery]:
        bars = group_by_symbol(read_csv(self.folder / "bars.csv.gz"))
        splits = group_by_symbol(read_csv(self.folder / "splits.csv"))
        for symbol in self.symbols:
            if symbol not in bars:
                yield Delivery(symbol, error=refuse(symbol, list(bars)))
                continue
            yield Delivery(
                symbol,
                build_bars(bars[symbol], "sample", "raw", FETCHED_AT),
                build_actions(
                    [*splits.get(symbol, []), all_splits_of(symbol)], "sample", FETCHED_AT
                ),
            )


def all_splits_of(symbol: str) -> dict[str, str | None]:
    """The row that says: these are all splits of the days of the bars."""
    return {"symbol": symbol, "ex_date": None, "kind": "splits", "value": "days"}


def open_sample(settings: Settings) -> Sample:
    return Sample(settings.symbols or ())


def read_csv(path: Path) -> list[dict[str, str | None]]:
    opener = gzip.open if path.suffix == ".gz" else io.open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def group_by_symbol(rows: list[dict[str, str | None]]) -> dict[str, list[dict[str, str | None]]]:
    groups: dict[str, list[dict[str, str | None]]] = {}
    for row in rows:
        groups.setdefault(row["symbol"] or "", []).append(row)
    return groups


def refuse(symbol: str, known: list[str]) -> SourceError:
    return UnknownSymbol(
        f"the sample holds {', '.join(known)} and no {symbol}:"
        " set AV_API_KEY to fetch others, or SOURCE=files to load your own"
    )
