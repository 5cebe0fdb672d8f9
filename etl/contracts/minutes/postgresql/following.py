"""The log of what live batches changed, for those who follow them."""

import pyarrow as pa

from etl.contracts.minutes import CHANGES, KEPT_CHANGES, Outdated
from etl.contracts.minutes.postgresql.connections import Connection
from etl.contracts.minutes.postgresql.generation import Head, select
from etl.contracts.minutes.postgresql.reading import execute, read_rows
from etl.contracts.minutes.postgresql.tables import SCHEMA
from etl.contracts.minutes.postgresql.writing import copy_rows

NEXT = f"""{select("changes", CHANGES)}
WHERE (counter, number) > (%(counter)s, %(number)s) AND counter <= %(last)s
ORDER BY counter, number LIMIT %(most)s"""
KEPT_FROM = f"SELECT changes_kept_from FROM {SCHEMA}.generation"
# The generation of the oldest change that has to be kept, and so all of it is.
BOUND = f"""SELECT counter FROM {SCHEMA}.changes
ORDER BY counter DESC, number DESC OFFSET %(kept)s - 1 LIMIT 1"""
DROP = f"DELETE FROM {SCHEMA}.changes WHERE counter < %(bound)s"
MORE = 20_000  # so many more there may be before old ones are dropped: seldom, and many at once


def write_changes(connection: Connection, counter: int, number: int, told: pa.Table) -> None:
    """TOLD, numbered from `number` on."""
    if not told.num_rows:
        return
    numbers = pa.array(range(number, number + told.num_rows), pa.int32())
    counters = pa.repeat(pa.scalar(counter, pa.int64()), told.num_rows)
    rows = told.add_column(0, CHANGES.field("number"), numbers)
    copy_rows(
        connection, f"{SCHEMA}.changes", rows.add_column(0, CHANGES.field("counter"), counters)
    )


def drop_old(connection: Connection, before: Head, told: int) -> tuple[int, int]:
    """Let go what is older than the newest KEPT_CHANGES, generations as a whole: from which one on
    none is missing, and how many there are."""
    count = before.changes + told
    if count <= KEPT_CHANGES + MORE:
        return before.changes_kept_from, count
    (bound,) = execute(connection, BOUND, {"kept": KEPT_CHANGES})[0]
    dropped = connection.execute(DROP.encode(), {"bound": bound}).rowcount
    return int(bound), count - dropped


def read_changes(connection: Connection, head: Head, after: tuple[int, int], most: int) -> pa.Table:
    """CHANGES up to a generation. Outdated: some of them were dropped since."""
    values = {"counter": after[0], "number": after[1], "last": head.counter, "most": most}
    table = read_rows(connection, NEXT, CHANGES, values)
    (kept_from,) = execute(connection, KEPT_FROM, {})[0]
    if after[0] < kept_from and kept_from > head.changes_kept_from:
        raise Outdated("changes that a newer generation dropped are kept no more: ask once more")
    return table
