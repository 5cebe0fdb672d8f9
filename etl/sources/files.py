"""CSV and Parquet files that people already have: one file, a folder or a glob.

Every value is taken as text, so that `NA` stays a symbol. Columns are found by the spellings in
SPELLINGS; `Adj Close` is kept apart and never becomes the close.
"""

import glob
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from etl.errors import Malformed, SourceError, UnknownSymbol
from etl.schema import PRICES
from etl.settings import Settings, SettingsError
from etl.sources import Delivery
from etl.stage import connect, quote

BATCH_ROWS = 500_000
ENDINGS = (".csv", ".csv.gz", ".parquet")

# Column of ours → headers that people have, lower case, without numbering, blanks and signs; the
# first one found counts.
SPELLINGS = {
    "timestamp": ("timestamp", "datetime", "date", "time", "day", "tradedate"),
    "symbol": ("symbol", "ticker", "name"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v"),
    "adj_close": ("adjclose", "adjustedclose"),
    "split": ("stocksplits", "splitcoefficient"),
    "dividend": ("dividends", "dividendamount"),
}


class Files:
    def __init__(self, settings: Settings, paths: list[Path]) -> None:
        self.settings = settings
        self.paths = paths
        self.count = len(paths)
        self.notes: dict[str, Any] = {}
        self.symbols = settings.symbols

    def fetch(self) -> Iterator[Delivery]:
        found: set[str] = set()
        with connect(self.settings) as connection:
            for path in self.paths:
                try:
                    yield from self.read_file(connection, path, found)
                except SourceError as error:
                    yield Delivery(path.name, error=error)
        for symbol in self.symbols or ():
            if symbol not in found:
                yield Delivery(symbol, error=UnknownSymbol(f"{symbol}: in none of the files"))

    def read_file(
        self, connection: duckdb.DuckDBPyConnection, path: Path, found: set[str]
    ) -> Iterator[Delivery]:
        """The deliveries of one file, a batch of rows at a time; adds to the symbols found."""
        try:
            columns = find_columns(connection, path)
            view = select_rows(path, columns, self.settings.source_adjustment, self.symbols)
            connection.execute(f"CREATE OR REPLACE TEMP VIEW rows AS {view}")
            actions = connection.sql(select_actions(columns)).to_arrow_table()
            for batch in connection.sql("SELECT * FROM rows").to_arrow_reader(BATCH_ROWS):
                table = pa.Table.from_batches([batch])
                found.update(s.strip().upper() for s in table["symbol"].unique().to_pylist() if s)
                bars = table.drop_columns(["split", "dividend"])
                yield Delivery(path.name, bars, actions)
                actions = None
        except (duckdb.Error, pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise Malformed(f"{path.name}: {str(error).splitlines()[0]}") from None


def open_files(settings: Settings) -> Files:
    if settings.source_path is None:
        raise SettingsError("SOURCE=files wants SOURCE_PATH: a CSV or Parquet file, folder or glob")
    paths = find_files(settings.source_path)
    if not paths:
        wanted = ", ".join(ENDINGS)
        raise SettingsError(f"SOURCE_PATH={settings.source_path}: no file there ({wanted})")
    return Files(settings, paths)


def find_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = path.rglob("*") if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))
    return sorted(p for p in found if p.is_file() and p.name.lower().endswith(ENDINGS))


def scan_file(path: Path) -> str:
    """The SQL that reads a file with every CSV value as text."""
    if path.name.lower().endswith(".parquet"):
        return f"read_parquet({quote(path)})"
    return f"read_csv({quote(path)}, all_varchar = true, header = true, null_padding = true)"


def find_columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """Column of ours → SQL that gives it as text. Raises Malformed where one is missing."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {scan_file(path)}").fetchall()
    headers = {normalize(row[0]): row[0] for row in reversed(described)}
    types = {row[0]: row[1] for row in described}
    zones = read_zones(path) if "TIMESTAMP WITH TIME ZONE" in types.values() else {}
    columns = {}
    for ours, spellings in SPELLINGS.items():
        header = next((headers[name] for name in spellings if name in headers), None)
        if header is not None:
            columns[ours] = to_text(header, zones.get(header))
    missing = [name for name in ("timestamp", *PRICES) if name not in columns]
    if missing:
        got = ", ".join(types)
        raise Malformed(f"{path.name}: no column for {', '.join(missing)} among {got}")
    columns.setdefault("symbol", quote(read_stem(path)))
    return columns


def normalize(header: str) -> str:
    """'1. open' → open, 'Adj Close' → adjclose, '<VOL>' → vol."""
    return re.sub(r"[^a-z]", "", re.sub(r"^\s*\d+\s*\.", "", header.lower()))


def to_text(header: str, zone: str | None) -> str:
    name = '"' + header.replace('"', '""') + '"'
    if zone:  # an instant with a zone: the wall clock there names the session
        name = f"timezone({quote(zone)}, {name})"
    return f"CAST({name} AS VARCHAR)"


def read_zones(path: Path) -> dict[str, str]:
    """Column → time zone, which Parquet files keep where DuckDB does not look."""
    schema = pq.read_schema(path)
    return {f.name: f.type.tz for f in schema if pa.types.is_timestamp(f.type) and f.type.tz}


def read_stem(path: Path) -> str:
    """The symbol in a file's name: AAPL of AAPL.csv.gz, BRK.B of BRK.B.csv."""
    return re.sub(r"(\.csv)?(\.gz)?$|\.parquet$", "", path.name, flags=re.IGNORECASE).upper()


def select_rows(
    path: Path, columns: dict[str, str], basis: str, symbols: tuple[str, ...] | None
) -> str:
    """The SQL of the raw bars of a file, with its actions in two columns beside."""
    # a file knows no time of fetching but its own; a copied older file stays older
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
    names = ("symbol", "timestamp", *PRICES, "volume", "adj_close", "split", "dividend")
    picked = ", ".join(f"{columns.get(name, 'NULL::VARCHAR')} AS {name}" for name in names)
    rows = (
        f"SELECT {picked}, {quote(basis)} AS basis, 'files' AS source, NULL::VARCHAR AS run_id,"
        f" TIMESTAMP {quote(str(modified))} AS fetched_at FROM {scan_file(path)}"
    )
    if symbols is None:
        return rows
    wanted = ", ".join(quote(symbol) for symbol in symbols)
    return f"SELECT * FROM ({rows}) WHERE upper(trim(symbol)) IN ({wanted})"


def select_actions(columns: dict[str, str]) -> str:
    """The SQL of the corporate actions in the rows: a split or dividend that is not 0."""
    return " UNION ALL ".join(
        f"SELECT symbol, timestamp AS ex_date, '{kind}' AS kind, {kind} AS value, source, run_id,"
        f" fetched_at FROM rows WHERE coalesce(try_cast({kind} AS DOUBLE), 0) NOT IN (0, {neutral})"
        for kind, neutral in (("split", 1), ("dividend", 0))
    )
