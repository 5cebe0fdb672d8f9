"""The next file of live batches: small, so that to publish it costs the same whatever is stored.

A bar in it takes the place of the one of its key in a month, with all of its revisions, and a row
of `instruments` or `sessions` that of its key in the index. `fold` moves bars into the months. The
newest changes are in it too, till they are so many that a file of their own takes them.
"""

from datetime import datetime
from pathlib import Path

import pyarrow as pa

from etl.contracts.minutes import CHANGES, KEPT_CHANGES, REVISIONS, STORED_BARS
from etl.contracts.minutes.changes import KEY, Changes
from etl.contracts.minutes.duckdb_files import index
from etl.contracts.minutes.duckdb_files.layout import (
    OF_LIVE,
    attach_new,
    attach_own,
    list_columns,
)
from etl.contracts.minutes.duckdb_files.manifest import Manifest, PublishedFile
from etl.contracts.minutes.duckdb_files.month import close_file, copy_whole
from etl.contracts.minutes.duckdb_files.workspace import Workspace
from etl.contracts.minutes.live import TOLD

LIVE = "next_live"  # the name under which it is attached, to be written to
CHANGES_AT_ONCE = 20_000  # in the file of live batches, before they get one of their own
BARS, OLD = list_columns(STORED_BARS), list_columns(REVISIONS)


class NextLive:
    """pending: TOLD of the generation in the making, whose counter is not known yet."""

    def __init__(self, space: Workspace, before: Manifest, path: Path) -> None:
        self.space = space
        self.before = before
        self.path = path
        self.pending: list[pa.Table] = []
        if before.live:
            copy_whole(space.folder / before.live.name, path, before.live.sha256)
            attach_own(space.connection, path, LIVE)
        else:
            attach_new(space.connection, path, LIVE, OF_LIVE)

    def read(self, table: str, schema: pa.Schema, interval: str, where: str = "") -> pa.Table:
        rows = f"FROM {LIVE}.{table} t {where} {'AND' if 'WHERE' in where else 'WHERE'}"
        return self.space.read(
            f"SELECT {list_columns(schema)} {rows} interval = '{interval}'", schema
        )

    def list_intervals(self) -> list[str]:
        rows = self.space.connection.execute(f"SELECT DISTINCT interval FROM {LIVE}.bars")
        return sorted(row[0] for row in rows.fetchall())

    def write(self, interval: str, changes: Changes, stored: pa.Table, revised: pa.Table) -> None:
        """Take over the keys that a batch changes, with all that is known of them."""
        if not stored.num_rows:
            self.insert(interval, changes)
            return
        given = {
            **{"bars": changes.bars, "stored": stored, "revised": revised},
            **{"revisions": changes.revisions, "withdrawn": changes.withdrawn},
        }
        told = {"interval": interval}
        with self.space.given(**given) as connection:
            for query in TAKE_OVER:
                connection.execute(query)
            for table in ("bars", "revisions"):
                connection.execute(
                    f"""DELETE FROM {LIVE}.{table} WHERE interval = $interval
                    AND ({KEY}) IN (SELECT ({KEY}) FROM taken_keys)""",
                    told,
                )
                connection.execute(
                    f"""INSERT INTO {LIVE}.{table} SELECT $interval, * FROM taken_{table}
                    ORDER BY {KEY}""",
                    told,
                )

    def insert(self, interval: str, changes: Changes) -> None:
        """Bars of which nothing is stored."""
        for table, rows in {"bars": changes.bars, "revisions": changes.revisions}.items():
            if rows.num_rows:
                with self.space.given(given=rows) as connection:
                    connection.execute(
                        f"INSERT INTO {LIVE}.{table} SELECT $interval, * FROM given",
                        {"interval": interval},
                    )

    def take_accounts(self, symbols: list[str]) -> list[str]:
        """Copy what the index knows of these symbols, to be changed here. Returns the name of the
        index, if there is one."""
        if self.before.index is None:
            return []
        known = self.space.attach(self.before.index)
        coming = pa.table({"symbol": pa.array(symbols, pa.string())})
        with self.space.given(coming=coming) as connection:
            connection.execute(
                f"""INSERT INTO {LIVE}.instruments FROM {known}.instruments
                SEMI JOIN coming USING (symbol) ANTI JOIN {LIVE}.instruments USING (symbol)"""
            )
        return [known]

    def write_pending(self, counter: int) -> None:
        """Number the changes of this generation."""
        news = pa.concat_tables([TOLD.empty_table(), *self.pending])
        with self.space.given(news=news) as connection:
            connection.execute(
                f"""INSERT INTO {LIVE}.changes BY NAME
                SELECT {counter} AS counter, row_number() OVER () - 1 AS number, * FROM news"""
            )
        self.pending = []

    def split_changes(self, path: Path) -> int:
        """Move the changes to a file of their own, if they are many; how many these are."""
        connection = self.space.connection
        count: int = connection.execute(f"SELECT count(*) FROM {LIVE}.changes").fetchall()[0][0]
        if count < CHANGES_AT_ONCE:
            return 0
        attach_new(connection, path, "next_changes", {"changes": CHANGES})
        connection.execute(f"INSERT INTO next_changes.changes FROM {LIVE}.changes")
        connection.execute(f"DELETE FROM {LIVE}.changes")
        close_file(connection, "next_changes", path)
        return count

    def is_empty(self) -> bool:
        rows = " UNION ALL ".join(f"(SELECT 1 FROM {LIVE}.{table} LIMIT 1)" for table in OF_LIVE)
        return not self.space.connection.execute(rows).fetchall()

    def close(self) -> None:
        close_file(self.space.connection, LIVE, self.path)

    def take_out(self, interval: str, before: datetime | None) -> tuple[pa.Table, pa.Table]:
        """Bars and revisions of the keys before an instant, or of all: they are no more here."""
        told = {"interval": interval, "before": before or datetime.max}  # noqa: DTZ901
        connection = self.space.connection
        where = "WHERE interval = $interval AND timestamp < $before"
        found = [
            connection.sql(
                f"SELECT {columns} FROM {LIVE}.{table} {where}", params=told
            ).to_arrow_table()
            for table, columns in (("bars", BARS), ("revisions", OLD))
        ]
        for table in ("bars", "revisions"):
            connection.execute(f"DELETE FROM {LIVE}.{table} {where}", told)
        return found[0].cast(STORED_BARS), found[1].cast(REVISIONS)

    def fold_beside(self, into: str) -> bool:
        """Move instruments, sessions and spans into the index; whether there were any."""
        keys = {"instruments": "symbol, interval", "sessions": "exchange, session"}
        count = 0
        for table in index.TABLES:
            if key := keys.get(table):
                self.space.connection.execute(
                    f"""DELETE FROM {into}.{table}
                    WHERE ({key}) IN (SELECT ({key}) FROM {LIVE}.{table})"""
                )
            moved = self.space.connection.execute(
                f"INSERT INTO {into}.{table} FROM {LIVE}.{table}"
            ).fetchall()
            self.space.connection.execute(f"DELETE FROM {LIVE}.{table}")
            count += moved[0][0]
        return count > 0


# bars, stored, revised, revisions, withdrawn are given: what is known of the keys from now on.
OF_REVISION = f"{KEY}, known_at"
TAKE_OVER = (
    f"""CREATE OR REPLACE TEMP TABLE taken_keys AS
    SELECT {KEY} FROM bars UNION SELECT {KEY} FROM revisions UNION SELECT {KEY} FROM withdrawn""",
    f"""CREATE OR REPLACE TEMP TABLE taken_bars AS
    SELECT {BARS} FROM bars UNION ALL SELECT {BARS} FROM stored
    SEMI JOIN taken_keys USING ({KEY}) ANTI JOIN bars USING ({KEY})""",
    f"""CREATE OR REPLACE TEMP TABLE taken_revisions AS
    SELECT {OLD} FROM revisions UNION ALL SELECT {OLD} FROM revised
    SEMI JOIN taken_keys USING ({KEY}) ANTI JOIN withdrawn USING ({OF_REVISION})
    ANTI JOIN revisions USING ({OF_REVISION})""",
)


def drop_old(
    files: tuple[PublishedFile, ...], changes_from: int
) -> tuple[tuple[PublishedFile, ...], int]:
    """The files of changes that are kept: as few as have KEPT_CHANGES; and from when on none is
    missing then."""
    kept = list(files)
    while kept and sum(file.appended for file in kept[1:]) >= KEPT_CHANGES:
        changes_from = kept.pop(0).counter
    return tuple(kept), changes_from
