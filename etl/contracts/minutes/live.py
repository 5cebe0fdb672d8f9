"""What a live batch tells those who follow: the same in every engine, but for the position."""

import duckdb
import pyarrow as pa

from etl.contracts.minutes import BATCH_BARS, CHANGES, Batch
from etl.contracts.minutes.changes import KEY, PLAIN, SAME, Changes, content

TOLD = pa.schema([each for each in CHANGES if each.name not in ("counter", "number")])
NAMES = ", ".join(f"s.{name}" for name in TOLD.names if name not in ("kind", "interval"))
# s: the bar as it is then; b: as it was before; c: the newest of what came.
QUERY = f"""
WITH coming AS (
    FROM ({PLAIN}) QUALIFY row_number() OVER (
        PARTITION BY {KEY} ORDER BY fetched_at DESC, {content()} DESC, source) = 1),
"then" AS (
    FROM live_changed UNION ALL BY NAME
    (FROM live_stored ANTI JOIN live_changed USING ({KEY}))),
compared AS (
    SELECT {NAMES}, b.symbol IS NULL AS is_new, {SAME.replace("s.", "b.").replace("c.", "s.")}
        AS is_kept, {SAME} AS is_said
    FROM coming c JOIN "then" s USING ({KEY}) LEFT JOIN live_stored b USING ({KEY}))
SELECT CASE WHEN is_new THEN 'new' WHEN NOT is_kept THEN 'revised' ELSE 'repeated' END AS kind,
       '{{interval}}' AS interval, * EXCLUDE (is_new, is_kept, is_said)
FROM compared WHERE is_new OR NOT is_kept OR (is_said AND {{again}}) ORDER BY timestamp, symbol"""


def list_changes(
    connection: duckdb.DuckDBPyConnection, batch: Batch, changes: Changes, stored: pa.Table
) -> pa.Table:
    """TOLD by (timestamp, symbol): bars that are new, that have other values than `stored` says,
    and, where the batch tells again, that have those which it says. Not what a late older answer
    only was known by. Nothing of a batch that is not live."""
    if not batch.is_live:
        return TOLD.empty_table()
    if not stored.num_rows:
        return tell_new(batch.interval, changes.bars)
    tables = {
        "minutes_given": batch.bars.cast(BATCH_BARS),
        "live_changed": changes.bars,
        "live_stored": stored,
    }
    for name, table in tables.items():
        connection.register(name, table)
    query = QUERY.format(interval=batch.interval, again=str(batch.tells_again).lower())
    found = connection.sql(query).to_arrow_table()
    for name in tables:
        connection.unregister(name)
    return found.select(TOLD.names).cast(TOLD)


def tell_new(interval: str, bars: pa.Table) -> pa.Table:
    """TOLD of bars whose keys are not stored: most batches have no others."""
    told = {"kind": "new", "interval": interval}
    for name, value in told.items():
        bars = bars.append_column(name, pa.array([value] * bars.num_rows, pa.string()))
    order = [("timestamp", "ascending"), ("symbol", "ascending")]
    return bars.select(TOLD.names).sort_by(order)
