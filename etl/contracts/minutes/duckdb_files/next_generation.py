"""The next generation: copies of the files that a load touches, which it writes to."""

import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from etl.base.whole_files import compute_digest, flush_to_disk, write_whole
from etl.contracts.minutes import (
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    STORED_BARS,
    Batch,
    Counts,
)
from etl.contracts.minutes.changes import KEY, WITHDRAWN, Changes, compare
from etl.contracts.minutes.digests import ACCOUNT, SUMS, sum_notes
from etl.contracts.minutes.duckdb_files import index
from etl.contracts.minutes.duckdb_files import month as months
from etl.contracts.minutes.duckdb_files.keys import (
    list_between,
    list_touched,
    select_keys,
    take_month,
)
from etl.contracts.minutes.duckdb_files.layout import (
    OF_INDEX,
    attach_new,
    attach_own,
    list_columns,
    quote,
)
from etl.contracts.minutes.duckdb_files.live import LIVE, NextLive, drop_old
from etl.contracts.minutes.duckdb_files.manifest import Manifest, PublishedFile, write_manifest
from etl.contracts.minutes.duckdb_files.month import NextMonth
from etl.contracts.minutes.duckdb_files.workspace import Workspace
from etl.contracts.minutes.live import list_changes

INDEX = "next_index"  # the name under which the next one is attached, to be written to
Where = tuple[str, str]  # interval, month
EXCHANGES = pa.schema([("symbol", pa.string()), ("exchange", pa.string())])
# Of the rows `t` of a file: those between the bars that come.
OF_RANGES = """
SEMI JOIN ranges r ON r.symbol = t.symbol AND t.timestamp BETWEEN r.first AND r.last"""
RANGES = """
SELECT symbol, min(timestamp) AS first, max(timestamp) AS last FROM batch_bars GROUP BY symbol"""
ADDED = f"""
SELECT symbol, coalesce(bars, 0) AS bars, first, last, coalesce(decimals, 0)::TINYINT AS decimals,
       coalesce(room, 18)::TINYINT AS room,
       {", ".join(f"coalesce({each}, 0)::UBIGINT AS {each}" for each in SUMS)},
       coalesce(sum, 0)::UBIGINT AS noted, coalesce(sources, []) AS sources
FROM accounts FULL JOIN noted USING (symbol)"""
NOTED = pa.schema([("symbol", pa.string()), ("sum", pa.uint64())])
# Revisions of a month that those of a live file take the place of.
GONE = f"SELECT {KEY}, known_at FROM revised ANTI JOIN revisions USING ({KEY}, known_at)"


class NextGeneration:
    """Files beside the published ones, *.next.duckdb, till they are published or discarded."""

    def __init__(self, space: Workspace, before: Manifest) -> None:
        self.space = space
        self.folder = space.folder
        self.before = before
        self.months: dict[Where, NextMonth] = {}
        self.index_path = self.folder / "index.next.duckdb"
        self.has_index = False
        self.is_changed = False
        space.keep({file.name for file in before.list_files()})
        self.live = NextLive(space, before, self.folder / "live.next.duckdb")

    def upsert(self, batch: Batch) -> Counts:
        if batch.is_live and not self.has_index:
            return self.upsert_live(batch)
        self.fold(None)
        touched = list_touched(batch.bars)
        stored, revised = self.read_keys(batch.bars, batch.interval, touched)
        changes = compare(self.space.connection, batch, stored, revised)
        news = list_changes(self.space.connection, batch, changes, stored)
        noted = NOTED.empty_table() if batch.is_live else self.write_notes(batch)
        self.write_months(batch.interval, changes, stored)
        if not changes.is_empty or noted.num_rows:
            self.write_accounts(INDEX, batch.interval, changes.accounts, noted)
        self.write_beside(INDEX, batch)
        self.live.pending.append(news)
        return changes.counts

    def upsert_live(self, batch: Batch) -> Counts:
        """What a small batch changes goes into the one small file, of whatever month it is."""
        stored, revised = self.read_known(batch)
        changes = compare(self.space.connection, batch, stored, revised)
        news = list_changes(self.space.connection, batch, changes, stored)
        symbols = {*batch.exchanges, *batch.bars["symbol"].unique().to_pylist()}
        symbols |= set(batch.spans["symbol"].to_pylist())
        others = self.live.take_accounts(sorted(symbols))
        if not changes.is_empty:
            self.live.write(batch.interval, changes, stored, revised)
            self.write_accounts(
                LIVE, batch.interval, changes.accounts, NOTED.empty_table(), *others
            )
        self.write_beside(LIVE, batch, *others)
        self.live.pending.append(news)
        self.is_changed |= news.num_rows > 0
        return changes.counts

    def read_known(self, batch: Batch) -> tuple[pa.Table, pa.Table]:
        """What is stored of the keys of a live batch. A bar behind all that are known of its
        symbol is in no file, and most are: then no month is looked into."""
        with self.space.given(wanted=batch.bars) as connection:
            of_keys = select_keys(batch.bars)
            stored = self.live.read("bars", STORED_BARS, batch.interval, of_keys)
            revised = self.live.read("revisions", REVISIONS, batch.interval, of_keys)
            connection.register("found", stored)
            rest = connection.sql(self.select_older(batch.interval)).to_arrow_table()
            connection.unregister("found")
        if not rest.num_rows:
            return stored, revised
        older, revised_before = self.read_keys(rest, batch.interval, list_touched(rest))
        return pa.concat_tables([stored, older]), pa.concat_tables([revised, revised_before])

    def select_older(self, interval: str) -> str:
        """SQL: the keys of `wanted` that are not `found`, and not behind all of their symbol."""
        if self.before.index is None:
            return f"SELECT {KEY} FROM wanted LIMIT 0"
        known = self.space.attach(self.before.index)
        return f"""
            SELECT {KEY} FROM wanted ANTI JOIN found USING ({KEY})
            JOIN (SELECT symbol, last FROM {known}.instruments WHERE interval = {quote(interval)})
            USING (symbol) WHERE timestamp <= last"""

    def read_keys(
        self, keys: pa.Table, interval: str, touched: Sequence[str]
    ) -> tuple[pa.Table, pa.Table]:
        """Bars and revisions of these keys in the months."""
        with self.space.given(wanted=keys):
            where = select_keys(keys)
            stored = self.read("bars", STORED_BARS, interval, touched, where)
            return stored, self.read("revisions", REVISIONS, interval, touched, where)

    def read(
        self, table: str, schema: pa.Schema, interval: str, touched: Sequence[str], where: str
    ) -> pa.Table:
        """Rows of these months, as they are in the next generation up to now."""
        files = [self.find_attached(interval, month) for month in touched]
        rows = [
            f"SELECT {list_columns(schema)} FROM {file}.{table} t {where}" for file in files if file
        ]
        return self.space.read(" UNION ALL ".join(rows), schema) if rows else schema.empty_table()

    def find_attached(self, interval: str, month: str) -> str | None:
        """The name under which a month can be read; None where it has no file."""
        if (where := (interval, month)) in self.months:
            return self.months[where].name
        published = self.before.of_interval(interval).get(month)
        return self.space.attach(published) if published else None

    def open_month(self, interval: str, month: str) -> NextMonth:
        where = interval, month
        if where not in self.months:
            self.is_changed = True
            path = self.folder / interval / f"{month}.next.duckdb"
            published = self.before.of_interval(interval).get(month)
            name = f"next_{interval}_{month.replace('-', '_')}"
            self.months[where] = months.open_month(
                self.space.connection, path, name, self.folder, published
            )
        return self.months[where]

    def open_index(self) -> None:
        if self.has_index:
            return
        connection = self.space.connection
        if before := self.before.index:
            months.copy_whole(self.folder / before.name, self.index_path, before.sha256)
            attach_own(connection, self.index_path, INDEX)
        else:
            attach_new(connection, self.index_path, INDEX, OF_INDEX)
        self.has_index = True

    def fold(self, before: datetime | None) -> None:
        """Move what live batches brought before an instant, or all, into months and index."""
        self.open_index()
        self.is_changed |= self.live.fold_beside(INDEX)
        for interval in self.live.list_intervals():
            bars, revisions = self.live.take_out(interval, before)
            stored, revised = self.read_keys(bars, interval, list_touched(bars))
            with self.space.given(revised=revised, revisions=revisions):
                gone = self.space.read(GONE, WITHDRAWN)
            moved = Changes(Counts(), bars, revisions, gone, ACCOUNT.empty_table())
            self.write_months(interval, moved, stored)

    def write_months(self, interval: str, changes: Changes, stored: pa.Table) -> None:
        parts = [changes.bars, changes.revisions, changes.withdrawn]
        for month in sorted({month for part in parts for month in list_touched(part)}):
            opened = self.open_month(interval, month)
            bars, revisions, withdrawn = (take_month(part, month) for part in parts)
            with self.space.given(given=bars, given_stored=stored) as connection:
                months.write_bars(connection, opened)
            with self.space.given(given=revisions, given_withdrawn=withdrawn) as connection:
                months.write_revisions(connection, opened)

    def write_notes(self, batch: Batch) -> pa.Table:
        """Put the notes of a batch in the place of those between its bars. Returns symbol and sum
        of those that came or went; no row where the same are there."""
        with self.space.given(
            batch_bars=batch.bars, batch_notes=batch.notes.cast(NOTES)
        ) as connection:
            ranges = connection.sql(RANGES).to_arrow_table()
            coming = connection.sql("SELECT DISTINCT * FROM batch_notes").to_arrow_table()
        every = list_between(batch.bars, list(self.before.of_interval(batch.interval)))
        every += [month for interval, month in self.months if interval == batch.interval]
        with self.space.given(ranges=ranges):
            there = self.read("notes", NOTES, batch.interval, sorted(set(every)), OF_RANGES)
        with self.space.given(coming=coming, there=there) as connection:
            come, gone = (
                connection.sql(f"FROM {a} EXCEPT FROM {b}").to_arrow_table().cast(NOTES)
                for a, b in (("coming", "there"), ("there", "coming"))
            )
        for month in sorted({*list_touched(come), *list_touched(gone)}):
            parts = {"given": take_month(come, month), "given_stored": take_month(gone, month)}
            with self.space.given(**parts) as connection:
                months.write_notes(connection, self.open_month(batch.interval, month))
        with self.space.given(moved=pa.concat_tables([come, gone])) as connection:
            return connection.sql(sum_notes("FROM moved")).to_arrow_table()

    def write_accounts(
        self, into: str, interval: str, accounts: pa.Table, noted: pa.Table, *others: str
    ) -> None:
        self.is_changed = True
        with self.space.given(accounts=accounts, noted=noted) as connection:
            given = connection.sql(ADDED).to_arrow_table()
        with self.space.given(given=given) as connection:
            index.add_accounts(connection, into, interval, *others)

    def write_beside(self, into: str, batch: Batch, *others: str) -> None:
        """Exchanges, sessions, spans."""
        exchanges = {"symbol": list(batch.exchanges), "exchange": list(batch.exchanges.values())}
        if exchanges["symbol"]:
            with self.space.given(given=pa.table(exchanges, schema=EXCHANGES)) as connection:
                self.is_changed |= index.write_exchanges(connection, into)
        if batch.sessions.num_rows:
            with self.space.given(given=batch.sessions.cast(SESSIONS)) as connection:
                self.is_changed |= index.write_sessions(connection, into, *others)
        if batch.spans.num_rows:
            with self.space.given(given=batch.spans.cast(SPANS)) as connection:
                self.is_changed |= index.write_spans(connection, into, batch.interval, *others)

    def remove(self, symbols: Collection[str]) -> None:
        self.fold(None)
        given = pa.table({"symbol": pa.array(sorted(symbols), pa.string())})
        with self.space.given(given=given) as connection:
            self.is_changed |= index.remove(connection, INDEX)
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
        changes, changes_from = self.publish_changes(counter)
        manifest = Manifest(
            f"{counter}-{secrets.token_hex(4)}",
            datetime.now(UTC).replace(tzinfo=None),
            self.publish_index(counter),
            self.publish_months(counter),
            self.publish_live(counter),
            changes,
            changes_from,
        )
        for folder in {self.folder, *(self.folder / interval for interval, _ in self.months)}:
            flush_to_disk(folder)
        write_manifest(self.folder, manifest, self.before)
        return manifest

    def publish_months(self, counter: int) -> dict[str, dict[str, PublishedFile]]:
        found = {interval: dict(files) for interval, files in (self.before.months or {}).items()}
        for (interval, month), opened in self.months.items():
            months.close_month(self.space.connection, opened)
            name = f"{interval}/{month}.{counter}.duckdb"
            published = self.rename(opened.path, name, opened.appended)
            found.setdefault(interval, {})[month] = published
        return {interval: dict(sorted(files.items())) for interval, files in found.items()}

    def publish_index(self, counter: int) -> PublishedFile | None:
        if not self.has_index:
            return self.before.index
        months.close_file(self.space.connection, INDEX, self.index_path)
        return self.rename(self.index_path, f"index.{counter}.duckdb")

    def publish_changes(self, counter: int) -> tuple[tuple[PublishedFile, ...], int]:
        self.live.write_pending(counter)
        path = self.folder / "changes.next.duckdb"
        files = self.before.changes
        if count := self.live.split_changes(path):
            files = (*files, self.rename(path, f"changes.{counter}.duckdb", count))
        return drop_old(files, self.before.changes_from)

    def publish_live(self, counter: int) -> PublishedFile | None:
        is_empty = self.live.is_empty()
        self.live.close()
        if is_empty:
            self.live.path.unlink()
            return None
        return self.rename(self.live.path, f"live.{counter}.duckdb")

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


def sweep(folder: Path, manifest: Manifest) -> None:
    """Take away the files that no manifest names: what a killed run left, and what was published
    before the generation before. Only for the one who writes."""
    kept = {file.name for file in manifest.list_files()}
    kept |= {file.name for file in manifest.previous.list_files()} if manifest.previous else set()
    for path in (*folder.glob("*.duckdb*"), *folder.glob("*/*.duckdb*"), *folder.glob("*.next")):
        if str(path.relative_to(folder)) not in kept:
            path.unlink()
