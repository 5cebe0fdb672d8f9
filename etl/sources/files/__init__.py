"""Files that people already have: one file, a folder, a glob; text, spreadsheets, saved answers.

    find      which files are meant, and which are passed over
    text      encoding, delimiter and header row of a text, found once
    tables    every kind of file as columns of text (answers: JSON; headers: what a column is)
    symbols   whose bars they are
    reading   the whole columns first (dates, times, numbers), then each row by what they say
    minutes   the same of bars of a minute (intervals: how long they are; zones: by which clock)
    summary   what was read, for people and for programs

A value that cannot be read stays as it is written: transform refuses it with a reason.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from etl.base.errors import Malformed, SourceError, UnknownSymbol
from etl.base.parquet_sql import connect
from etl.contracts.deliveries import Delivery
from etl.settings import Settings, SettingsError
from etl.sources.files.find import WANTED, Found, find_files
from etl.sources.files.reading import Reading, read_table, select_actions, select_lists
from etl.sources.files.summary import Summary
from etl.sources.files.symbols import read_names_files
from etl.sources.files.tables import Table, open_tables

BATCH_ROWS = 50_000


class Files:
    """symbol: whose bars all the files hold, where the command says it."""

    def __init__(self, settings: Settings, found: Found, symbol: str | None = None) -> None:
        self.settings = settings
        self.found = found
        self.symbol = symbol
        self.names = read_names_files(found.names_files)
        self.count = len(found.paths)
        self.summary = Summary([found.label(path) for path in found.passed_over])
        self.notes: dict[str, Any] = {"passed_over": self.summary.passed_over}
        self.symbols: set[str] = set()

    def fetch(self) -> Iterator[Delivery]:
        scratch = self.settings.data_dir / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        self.summary.tell_passed_over(WANTED)
        with (
            connect(self.settings) as connection,
            tempfile.TemporaryDirectory(dir=scratch) as folder,
        ):
            # rows come in their order anyway: more threads would take memory and no less time
            connection.execute("SET threads = 1")
            for path in self.found.paths:
                for delivery in self.read_file(connection, path, Path(folder)):
                    if delivery.error:
                        self.summary.add_refused(delivery.label, str(delivery.error))
                    yield delivery
        for symbol in self.settings.symbols or ():
            if symbol not in self.symbols:
                yield Delivery(symbol, error=UnknownSymbol(f"{symbol}: in none of the files"))

    def read_file(
        self, connection: duckdb.DuckDBPyConnection, path: Path, scratch: Path
    ) -> Iterator[Delivery]:
        """The deliveries of one file, a batch of rows at a time."""
        label = self.found.label(path)
        try:
            for table in open_tables(connection, path, label, scratch):
                if isinstance(table, SourceError):
                    yield Delivery(str(table).partition(":")[0], error=table)
                    continue
                yield from self.read(connection, table, path)
        except SourceError as error:
            yield Delivery(label, error=error)
        except (duckdb.Error, pa.ArrowException, OSError, UnicodeError) as error:
            yield Delivery(label, error=Malformed(describe_error(label, error)))

    def read(
        self, connection: duckdb.DuckDBPyConnection, table: Table, path: Path
    ) -> Iterator[Delivery]:
        override = self.symbol or self.names.get(path)
        yield from self.deliver(
            connection, read_table(connection, table, self.settings, path, override)
        )

    def deliver(
        self, connection: duckdb.DuckDBPyConnection, reading: Reading
    ) -> Iterator[Delivery]:
        entry = self.summary.add(reading)
        actions = None
        if reading.actions:
            actions = connection.sql(select_actions(reading.rows)).to_arrow_table()
            entry.actions = actions.num_rows
        if actions is not None and reading.has_bars:
            lists = connection.sql(select_lists(reading.rows, reading.actions)).to_arrow_table()
            actions = pa.concat_tables([actions, lists], promote_options="permissive")
        if not reading.has_bars:
            entry.symbols = list_symbols(actions)
            self.symbols.update(entry.symbols)
            yield Delivery(reading.label, actions=actions)
            return
        for table in read_batches(connection, reading):
            entry.count(table)
            self.symbols.update(entry.symbols)
            yield Delivery(reading.label, table.drop_columns(["split", "dividend"]), actions)
            actions = None
        self.summary.warn_if_sparse(entry)


def read_batches(connection: duckdb.DuckDBPyConnection, reading: Reading) -> Iterator[pa.Table]:
    if reading.table is not None:
        yield reading.table
        return
    for batch in connection.sql(reading.rows).to_arrow_reader(BATCH_ROWS):
        yield pa.Table.from_batches([batch])


def list_symbols(table: pa.Table | None) -> list[str]:
    found = table["symbol"].unique().to_pylist() if table is not None else []
    return [symbol.strip().upper() for symbol in found if symbol]


def describe_error(label: str, error: Exception) -> str:
    """One line, whatever DuckDB has to say of a file."""
    text = str(error)
    if "Maximum line size" in text or "line size" in text.lower():
        return f"{label}: a line of over 1 MiB: not a CSV file of bars, or a quote is never closed"
    return f"{label}: {text.splitlines()[0] if text else type(error).__name__}: save it as CSV anew"


def open_files(settings: Settings, symbol: str | None = None) -> Files:
    return Files(settings, open_found(settings), symbol)


def open_found(settings: Settings) -> Found:
    """The files that SOURCE_PATH means. SettingsError where there are none."""
    if settings.source_path is None:
        raise SettingsError("SOURCE=files wants SOURCE_PATH: a file, folder or glob")
    found = find_files(settings.source_path)
    if not found.paths:
        raise SettingsError(f"SOURCE_PATH={settings.source_path}: no file there ({WANTED})")
    return found
