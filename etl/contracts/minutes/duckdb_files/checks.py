"""Whether the files say the truth of themselves: all is computed anew, nothing is written."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from etl.base.whole_files import compute_digest
from etl.contracts.minutes import BASE_INTERVALS, PRICES, MinuteStoreError
from etl.contracts.minutes.changes import KEY
from etl.contracts.minutes.digests import (
    ACCOUNT,
    SUMS,
    add_accounts,
    sum_bars,
    sum_notes,
    sum_revisions,
    sum_spans,
)
from etl.contracts.minutes.duckdb_files import index, layout, reading
from etl.contracts.minutes.duckdb_files.attached import AttachedFiles, tell_damaged
from etl.contracts.minutes.duckdb_files.manifest import Manifest, PublishedFile, read_manifest

Line = tuple[str, str]  # what must hold, what contradicts it


def check_store(files: AttachedFiles, folder: Path) -> Iterator[Line]:
    manifest = read_manifest(folder)
    damaged = [fault for file in manifest.list_files() if (fault := check_file(folder, file))]
    yield "each file is as it was published", "; ".join(damaged[:3])
    if damaged:
        return
    faults: dict[str, list[str]] = {name: [] for name in CHECKS}
    accounts = []
    live = manifest.live
    for interval, months in (manifest.months or {}).items():
        for month, file in months.items():
            for name, query in CHECKS.items():
                faults[name] += ask(files, file, query, describe_month(interval, month, file))
            accounts.append(read_accounts(files, file, interval, live))
    for name, found in faults.items():
        yield name, "; ".join(found[:3])
    if live:
        yield from check_live(files, live)
        accounts += [read_accounts(files, live, interval, live) for interval in BASE_INTERVALS]
    yield from check_index(files, manifest, accounts)


def check_live(files: AttachedFiles, live: PublishedFile) -> Iterator[Line]:
    for said, query in CHECKS_OF_LIVE.items():
        yield f"of live batches {said}", "; ".join(ask(files, live, query, {}))


def find_damaged(folder: Path, manifest: Manifest) -> MinuteStoreError | None:
    """What is wrong with a published file, where a load could not read one."""
    for file in manifest.list_files():
        if fault := check_file(folder, file):
            return tell_damaged(folder / file.name, fault)
    return None


def check_file(folder: Path, file: PublishedFile) -> str:
    path = folder / file.name
    try:
        return "" if compute_digest(path) == file.sha256 else f"{file.name} differs"
    except OSError as error:
        return f"{file.name}: {error.strerror}"


def describe_month(interval: str, month: str, file: PublishedFile) -> dict[str, object]:
    step = BASE_INTERVALS[interval] * 1_000_000
    return {"month": month, "step": step, "appended": file.appended}


# What must hold in the file of a month → SQL: what contradicts it, as text.
CHECKS = {
    "each bar once": f"""
        SELECT format('{{}} {{}}', {KEY}) FROM {{file}}.bars GROUP BY {KEY} HAVING count(*) > 1
        ORDER BY 1 LIMIT 3""",
    "each bar in the file of its month, at a step of its interval, seen since it is known": f"""
        SELECT format('{{}} {{}}', coalesce(symbol, 'NULL'), timestamp) FROM {{file}}.bars
        WHERE strftime(timestamp, '%Y-%m') IS DISTINCT FROM $month
           OR epoch_us(timestamp) % $step <> 0 OR symbol IS NULL OR source IS NULL
           OR {" OR ".join(f"NOT coalesce(isfinite({name}), false)" for name in PRICES)}
           OR coalesce(seen_at < known_at, true) ORDER BY 1 LIMIT 3""",
    "bars in order, but for those that were appended": f"""
        SELECT format('{{}} {{}}', {KEY}) FROM (
            SELECT {KEY}, lag(symbol) OVER () AS symbol_before, lag(timestamp) OVER () AS before,
                   row_number() OVER () AS number FROM {{file}}.bars)
        WHERE number <= (SELECT count(*) FROM {{file}}.bars) - $appended
          AND symbol_before IS NOT NULL AND (symbol_before, before) >= ({KEY}) LIMIT 3""",
    "revisions follow each other, and the bar follows them": f"""
        SELECT format('{{}} {{}}', r.symbol, r.timestamp) FROM (
            SELECT *, lead(known_at) OVER (PARTITION BY {KEY} ORDER BY known_at) AS following
            FROM {{file}}.revisions) r LEFT JOIN {{file}}.bars b USING ({KEY})
        WHERE known_until IS DISTINCT FROM coalesce(following, b.known_at)
           OR r.known_at >= known_until ORDER BY 1 LIMIT 3""",
}
CHECKS_OF_LIVE = {
    "each bar once": """
        SELECT format('{} {}', symbol, timestamp) FROM {file}.bars
        GROUP BY interval, symbol, timestamp HAVING count(*) > 1 ORDER BY 1 LIMIT 3""",
    "each change once, in order": """
        SELECT format('{} {}', counter, number) FROM (
            SELECT *, row_number() OVER (PARTITION BY counter ORDER BY number) - 1 AS place
            FROM {file}.changes) WHERE place <> number ORDER BY 1 LIMIT 3""",
}
# Of a file, what instruments add up: of a month what the file of live batches has not taken over.
REST = " FROM {file}.%s t WHERE true{taken}"
ACCOUNTS_OF_FILE = f"""
SELECT $interval AS interval, symbol, a.* EXCLUDE (symbol), {{noted}}::UBIGINT AS noted
FROM ({
    add_accounts(
        f"FROM ({sum_bars(REST % 'bars')}) UNION ALL FROM ({sum_revisions(REST % 'revisions')})"
    )
}) a {{notes}}"""
OF_MONTH = {
    "noted": "coalesce(n.sum, 0)",
    "notes": f"LEFT JOIN ({sum_notes('FROM {file}.notes')}) n USING (symbol)",
}
OF_LIVE = {"noted": "0", "notes": "", "taken": reading.OF_INTERVAL}
MONTHS = pa.schema([("interval", pa.string()), *ACCOUNT, ("noted", pa.uint64())])
ADDED = ("bars", "first", "last", *SUMS, "noted")
COMPARE = f"""
WITH found AS (
    SELECT interval, symbol, sum(bars)::BIGINT AS bars, min(first) AS first, max(last) AS last,
           max(decimals) AS decimals, min(room) AS room,
           {", ".join(f"bit_xor({name}) AS {name}" for name in (*SUMS, "noted"))},
           list_distinct(flatten(list(sources))) AS sources
    FROM found_months GROUP BY ALL)
SELECT format('{{}} {{}}', coalesce(f.symbol, i.symbol), coalesce(f.interval, i.interval))
FROM found f FULL JOIN instruments i USING (symbol, interval)
WHERE {" OR ".join(f"f.{name} IS DISTINCT FROM i.{name}" for name in ADDED)}
   OR f.decimals > i.decimals OR f.room < i.room OR NOT list_has_all(i.sources, f.sources)
ORDER BY 1 LIMIT 3"""
ASKED = f"""
SELECT format('{{}} {{}}', i.symbol, i.interval) FROM instruments i
LEFT JOIN ({sum_spans("FROM spans", by=("symbol", "interval"))}) s USING (symbol, interval)
WHERE i.asked <> coalesce(s.sum, 0) ORDER BY 1 LIMIT 3"""
# Rows of the index, but for those in whose place the file of live batches has others.
KNOWN = "SELECT {columns} FROM index_{table} {without} UNION ALL SELECT {columns} FROM live_{table}"


def ask(
    files: AttachedFiles, file: PublishedFile, query: str, values: dict[str, object]
) -> list[str]:
    """What contradicts, in the file; MinuteStoreError where it cannot be read."""
    named = {name: value for name, value in values.items() if f"${name}" in query}
    (found,) = reading.ask(files, [file], query, named)
    return [f"{text} in {file.name}" for text in found.column(0).to_pylist()]


def read_accounts(
    files: AttachedFiles, file: PublishedFile, interval: str, live: PublishedFile | None
) -> pa.Table:
    """MONTHS of one file, the file of live batches itself being the one that takes from none."""
    is_live = file == live
    taken = reading.NOT_TAKEN if live else ""
    parts = OF_LIVE if is_live else {**OF_MONTH, "taken": taken}
    query = ACCOUNTS_OF_FILE
    for name, part in parts.items():
        query = query.replace(f"{{{name}}}", part)
    beside = None if is_live else live
    (found,) = reading.ask(files, [file], query, {"interval": interval}, beside)
    return found.cast(MONTHS)


def check_index(
    files: AttachedFiles, manifest: Manifest, accounts: list[pa.Table]
) -> Iterator[Line]:
    with duckdb.connect(":memory:") as connection:
        connection.register("found_months", pa.concat_tables([MONTHS.empty_table(), *accounts]))
        for table, key in {"instruments": "symbol, interval", "spans": ""}.items():
            for kind, file in {"index": manifest.index, "live": manifest.live}.items():
                rows = index.read_table(files, file, table, layout.OF_INDEX[table])
                connection.register(f"{kind}_{table}", rows)
            columns = layout.list_columns(layout.OF_INDEX[table])
            without = f"ANTI JOIN live_{table} USING ({key})" if key else ""
            known = KNOWN.format(table=table, columns=columns, without=without)
            connection.execute(f"CREATE TEMP TABLE {table} AS {known}")
        for said, query in SAID.items():
            found = [row[0] for row in connection.execute(query).fetchall()]
            yield said, "; ".join(found)


SAID = {
    "instruments are as their bars, revisions and notes say": COMPARE,
    "instruments are as their spans say": ASKED,
}
