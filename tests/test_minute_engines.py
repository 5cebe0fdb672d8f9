"""`make minutes` into every engine leaves the same bars, notes, spans and counts."""

from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from etl.base.errors import StoreError
from etl.settings import Settings
from tests.clickhouse_server import share_clickhouse
from tests.minutes import Row, load_rows, look_at, make_row, use_folder
from tests.postgres_server import shared_server

OPEN = datetime.fromisoformat("2013-02-28T14:30")
SOON, LATER = (datetime.fromisoformat(f"2024-07-0{n}") for n in (1, 2))


def name_postgres(folder: Path) -> str:
    return shared_server().address_of(folder)


def name_clickhouse(folder: Path) -> str:
    server, name = share_clickhouse(), f"loads_{sha256(str(folder).encode()).hexdigest()[:12]}"
    server.run(f"CREATE DATABASE IF NOT EXISTS {name}")
    return server.name_url(name)


ADDRESSES = {"PostgreSQL": name_postgres, "ClickHouse": name_clickhouse}


def make_rows(minutes: range, price: float, **about: Any) -> list[Row]:
    return [
        make_row(f"{OPEN + timedelta(minutes=n):%Y-%m-%dT%H:%M}Z", price + n / 100, **about)
        for n in minutes
    ]


def make_loads() -> list[tuple[list[Row], list[Row]]]:
    """Synthetic bars; real ones in their place; a correction, a spike, late bars, another month."""
    about = {"symbol": "AAPL", "source": "x", "fetched_at": SOON}
    span = about | {"start": OPEN, "end": OPEN + timedelta(hours=2)}
    first = make_rows(range(-3, 20), 100, **about)
    later = about | {"fetched_at": LATER}
    second = [*make_rows(range(10, 12), 150, **later), *make_rows(range(20, 30), 100, **later)]
    fraction = make_rows(range(5), 7, symbol="BTC-USD", volume="0.125", source="x")
    month = make_rows(range(1440 * 30, 1440 * 30 + 5), 100, **later)
    return [
        (make_rows(range(3), 50, source="synthetic"), []),
        (first, [span]),
        ([*second, *fraction], [span | {"fetched_at": LATER}]),
        (month, []),
        (month, []),
    ]


def load_all(settings: Settings) -> tuple[list[Any], dict[str, Any]]:
    names = ("inserted", "revised", "unchanged", "stale", "superseded", "symbols", "notes")
    records = [load_rows(settings, *each) for each in make_loads()]
    assert [bool(record.get("generation")) for record in records] == [True] * 4 + [False]
    return [{name: record[name] for name in names} for record in records], read_all(settings)


def read_all(settings: Settings) -> dict[str, Any]:
    with look_at(settings) as snapshot:
        return {
            symbol: (
                (each.digest, each.bars, each.exchange, each.volume_decimals, each.sources),
                snapshot.bars(symbol, "1m").to_pylist(),
                *(
                    sorted(map(str, table.to_pylist()))
                    for table in (
                        snapshot.notes(symbol, "1m", None, None),
                        snapshot.revisions(symbol, "1m", None, None),
                        snapshot.spans(symbol, "1m"),
                        snapshot.sessions(each.exchange, None, None),
                    )
                ),
            )
            for (symbol, _), each in sorted(snapshot.instruments.items())
        }


@pytest.mark.minutes
@pytest.mark.parametrize("engine", ADDRESSES)
def test_minutes_are_the_same_in_every_engine(tmp_path: Path, engine: str) -> None:
    address = ADDRESSES[engine](tmp_path)
    files = load_all(use_folder(tmp_path / "files"))
    assert set(files[1]) == {"AAPL", "BTC-USD"}
    assert files[1]["AAPL"][0][4] == ("x",)
    assert load_all(use_folder(tmp_path / "engine", MINUTE_STORE=address)) == files


def test_a_store_that_is_damaged_is_refused_with_the_remedy(tmp_path: Path) -> None:
    settings = use_folder(tmp_path)
    load_rows(settings, make_rows(range(2), 50))
    (tmp_path / "minutes" / "current.json").write_text("{")
    with pytest.raises(StoreError, match="put it back, or move"):
        load_rows(settings, make_rows(range(3), 50))
