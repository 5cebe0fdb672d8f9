"""The next generation: copies of the files that a load touches, which it writes to."""

import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.base.whole_files import SPILL, compute_digest, flush_to_disk, write_whole
from etl.contracts.minutes import (
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
    Batch,
    Counts,
)
from etl.contracts.minutes.changes import KEY, Changes, compare
from etl.contracts.minutes.digests import SUMS, sum_notes
from etl.contracts.minutes.duckdb_files import index
from etl.contracts.minutes.duckdb_files import month as months
from etl.contracts.minutes.duckdb_files.layout import (
    OF_INDEX,
    attach_new,
    connect,
    list_columns,
    quote,
)
from etl.contracts.minutes.duckdb_files.manifest import Manifest, PublishedFile, write_manifest
from etl.contracts.minutes.duckdb_files.month import NextMonth

Where = tuple[str, str]  # interval, month
EXCHANGES = pa.schema([("symbol", pa.string()), ("exchange", pa.string())])
# Of the rows `t` of a file: those between the bars that come.
OF_RANGES = """
SEMI JOIN ranges r ON r.symbol = t.symbol AND t.timestamp BETWEEN r.first AND r.last"""
RANGES = """
SELECT symbol, min(timestamp) AS first, max(timestamp) AS last FROM batch_bars GROUP BY symbol"""


class NextGeneration:
    """Files beside the published ones, *.next.duckdb, till they are published or discarded."""

    def __init__(self, folder: Path, before: Manifest, memory_mb: int) -> None:
        self.folder = folder
        self.before = before
        spill = spill_of(folder)
        spill.parent.mkdir(exist_ok=True)
        self.connection = connect({"memory_limit": f"{memory_mb}MiB", "temp_directory": str(spill)})
        self.months: dict[Where, NextMonth] = {}
        self.attached: dict[Where, str] = {}  # published files that were asked what they have
        self.is_changed = False
        self.index_path = folder / "index.next.duckdb"
        self.open_index()

    def upsert(self, batch: Batch) -> Counts:
        touched = list_touched(batch.bars)
        with self.given(wanted=batch.bars):
            of_keys = select_keys(batch.bars)
            stored = self.read("bars", STORED_BARS, batch.interval, touched, of_keys)
            revised = self.read("revisions", REVISIONS, batch.interval, touched, of_keys)
        changes = compare(self.connection, batch, stored, revised)
        noted = self.write_notes(batch)
        self.write_changes(batch.interval, changes, stored)
        if not changes.is_empty or noted.num_rows:
            self.write_accounts(batch.interval, changes.accounts, noted)
        self.write_beside(batch)
        return changes.counts

    def read(
        self, table: str, schema: pa.Schema, interval: str, touched: Sequence[str], where: str
    ) -> pa.Table:
        """Rows of these months, as they are in the next generation up to now."""
        files = [self.find_attached(interval, month) for month in touched]
        rows = [
            f"SELECT {list_columns(schema)} FROM {file}.{table} t {where}" for file in files if file
        ]
        if not rows:
            return schema.empty_table()
        return self.connection.sql(" UNION ALL ".join(rows)).to_arrow_table().cast(schema)

    def find_attached(self, interval: str, month: str) -> str | None:
        """The name under which a month can be read; None where it has no file."""
        where = interval, month
        if where in self.months:
            return self.months[where].name
        if where not in self.attached and (file := self.before.of_interval(interval).get(month)):
            name = f"published_{len(self.attached)}"
            path = self.folder / file.name
            self.connection.execute(f"ATTACH {quote(path)} AS {name} (READ_ONLY)")
            self.attached[where] = name
        return self.attached.get(where)

    def open_month(self, interval: str, month: str) -> NextMonth:
        where = interval, month
        if where not in self.months:
            if name := self.attached.pop(where, None):
                self.connection.execute(f"DETACH {name}")
            path = self.folder / interval / f"{month}.next.duckdb"
            published = self.before.of_interval(interval).get(month)
            name = f"next_{interval}_{month.replace('-', '_')}"
            self.months[where] = months.open_month(
                self.connection, path, name, self.folder, published
            )
        return self.months[where]

    def open_index(self) -> None:
        if self.before.index:
            before = self.before.index
            months.copy_whole(self.folder / before.name, self.index_path, before.sha256)
            self.connection.execute(f"ATTACH {quote(self.index_path)} AS {index.INDEX}")
        else:
            attach_new(self.connection, self.index_path, index.INDEX, OF_INDEX)

    @contextmanager
    def given(self, **tables: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
        for name, table in tables.items():
            self.connection.register(name, table)
        try:
            yield self.connection
        finally:
            for name in tables:
                self.connection.unregister(name)

    def write_changes(self, interval: str, changes: Changes, stored: pa.Table) -> None:
        parts = [changes.bars, changes.revisions, changes.withdrawn]
        for month in sorted({month for part in parts for month in list_touched(part)}):
            opened = self.open_month(interval, month)
            bars, revisions, withdrawn = (take_month(part, month) for part in parts)
            with self.given(given=bars, given_stored=stored) as connection:
                months.write_bars(connection, opened)
            with self.given(given=revisions, given_withdrawn=withdrawn) as connection:
                months.write_revisions(connection, opened)

    def write_notes(self, batch: Batch) -> pa.Table:
        """Put the notes of a batch in the place of those between its bars. Returns symbol and sum
        of those that came or went; no row where the same are there."""
        with self.given(batch_bars=batch.bars, batch_notes=batch.notes.cast(NOTES)) as connection:
            ranges = connection.sql(RANGES).to_arrow_table()
            coming = connection.sql("SELECT DISTINCT * FROM batch_notes").to_arrow_table()
        every = list_between(batch.bars, list(self.before.of_interval(batch.interval)))
        every += [month for interval, month in self.months if interval == batch.interval]
        with self.given(ranges=ranges):
            there = self.read("notes", NOTES, batch.interval, sorted(set(every)), OF_RANGES)
        with self.given(coming=coming, there=there) as connection:
            come, gone = (
                connection.sql(f"FROM {a} EXCEPT FROM {b}").to_arrow_table().cast(NOTES)
                for a, b in (("coming", "there"), ("there", "coming"))
            )
        for month in sorted({*list_touched(come), *list_touched(gone)}):
            parts = {"given": take_month(come, month), "given_stored": take_month(gone, month)}
            with self.given(**parts) as connection:
                months.write_notes(connection, self.open_month(batch.interval, month))
        with self.given(moved=pa.concat_tables([come, gone])) as connection:
            return connection.sql(sum_notes("FROM moved")).to_arrow_table()

    def write_accounts(self, interval: str, accounts: pa.Table, noted: pa.Table) -> None:
        self.is_changed = True
        with self.given(accounts=accounts, noted=noted) as connection:
            given = connection.sql(
                f"""SELECT symbol, coalesce(bars, 0) AS bars, first, last,
                       coalesce(decimals, 0)::TINYINT AS decimals,
                       coalesce(room, 18)::TINYINT AS room,
                       {", ".join(f"coalesce({each}, 0)::UBIGINT AS {each}" for each in SUMS)},
                       coalesce(sum, 0)::UBIGINT AS noted, coalesce(sources, []) AS sources
                FROM accounts FULL JOIN noted USING (symbol)"""
            ).to_arrow_table()
        with self.given(given=given) as connection:
            index.add_accounts(connection, interval)

    def write_beside(self, batch: Batch) -> None:
        """Exchanges, sessions, spans."""
        exchanges = {"symbol": list(batch.exchanges), "exchange": list(batch.exchanges.values())}
        with self.given(given=pa.table(exchanges, schema=EXCHANGES)) as connection:
            self.is_changed |= index.write_exchanges(connection)
        with self.given(given=batch.sessions.cast(SESSIONS)) as connection:
            self.is_changed |= index.write_sessions(connection)
        with self.given(given=batch.spans.cast(SPANS)) as connection:
            self.is_changed |= index.write_spans(connection, batch.interval)

    def remove(self, symbols: Collection[str]) -> None:
        given = pa.table({"symbol": pa.array(sorted(symbols), pa.string())})
        with self.given(given=given) as connection:
            self.is_changed |= index.remove(connection)
            for interval, month in self.list_months():
                attached = self.find_attached(interval, month)
                there = f"FROM {attached}.bars SEMI JOIN given USING (symbol) LIMIT 1"
                if connection.execute(there).fetchall():
                    months.remove(connection, self.open_month(interval, month))

    def list_months(self) -> list[Where]:
        """All months, published ones and new ones."""
        published = self.before.months or {}
        found = [(interval, month) for interval, files in published.items() for month in files]
        return sorted({*found, *self.months})

    def publish(self) -> Manifest:
        """The manifest that names the files, which is then what readers find."""
        counter = self.take_counter()
        changed: dict[str, dict[str, PublishedFile]] = {}
        for (interval, month), opened in self.months.items():
            months.close_month(self.connection, opened)
            name = f"{interval}/{month}.{counter}.duckdb"
            published = self.rename(opened.path, name, opened.appended)
            changed.setdefault(interval, {})[month] = published
        months.close_file(self.connection, index.INDEX, self.index_path)
        manifest = Manifest(
            f"{counter}-{secrets.token_hex(4)}",
            datetime.now(UTC).replace(tzinfo=None),
            self.rename(self.index_path, f"index.{counter}.duckdb"),
            {
                interval: dict(sorted((self.before.of_interval(interval) | files).items()))
                for interval, files in ((self.before.months or {}) | changed).items()
            },
        )
        self.connection.close()
        for folder in {self.folder, *((self.folder / interval) for interval in changed)}:
            flush_to_disk(folder)
        write_manifest(self.folder, manifest, self.before)
        return manifest

    def take_counter(self) -> int:
        """One above any that was ever taken here; on disk before a file bears it."""
        path = self.folder / "generation"
        text = path.read_text() if path.exists() else ""
        taken = int(text) if text.strip().isdecimal() else 0
        counter = max(self.before.counter, taken) + 1
        with write_whole(path) as next_path:
            next_path.write_text(f"{counter}\n")
        return counter

    def rename(self, path: Path, name: str, appended: int = 0) -> PublishedFile:
        path.chmod(0o440)
        target = path.replace(self.folder / name)
        return PublishedFile(name, target.stat().st_size, compute_digest(target), appended)

    def discard(self) -> None:
        self.connection.close()
        sweep(self.folder, self.before)


def spill_of(folder: Path) -> Path:
    """Where this process writes what memory does not hold; what a kill leaves there, each stage
    takes away (see etl.base.whole_files)."""
    return folder.parent / "tmp" / f"{SPILL}{os.getpid()}"


def sweep(folder: Path, manifest: Manifest) -> None:
    """Take away the files that no manifest names: what a killed run left, and what was published
    before the generation before. Only for the one who writes."""
    kept = {file.name for file in manifest.list_files()}
    kept |= {file.name for file in manifest.previous.list_files()} if manifest.previous else set()
    for path in (*folder.glob("*.duckdb*"), *folder.glob("*/*.duckdb*"), *folder.glob("*.next")):
        if str(path.relative_to(folder)) not in kept:
            path.unlink()


def select_keys(bars: pa.Table) -> str:
    """SQL: of the rows `t` of a file those that have the key of a bar of `wanted`. The bounds are
    told in literals, so that a file is not read where it has none."""
    bounds = [(name, pc.min_max(bars[name]).as_py()) for name in ("symbol", "timestamp")]
    within = (
        f"t.{name} BETWEEN {quote(found['min'])} AND {quote(found['max'])}"
        for name, found in bounds
        if found["min"] is not None
    )
    return " AND ".join((f"SEMI JOIN wanted USING ({KEY}) WHERE true", *within))


def list_touched(rows: pa.Table) -> list[str]:
    """The months in which the rows are."""
    found = np.unique(rows["timestamp"].to_numpy().astype("datetime64[M]"))
    return [str(month) for month in found]


def take_month(rows: pa.Table, month: str) -> pa.Table:
    return rows.filter(
        pa.array(rows["timestamp"].to_numpy().astype("datetime64[M]").astype(str) == month)
    )


def list_between(rows: pa.Table, every: Sequence[str]) -> list[str]:
    """The months from that of the first row to that of the last."""
    touched = list_touched(rows)
    return [month for month in every if touched and touched[0] <= month <= touched[-1]]
