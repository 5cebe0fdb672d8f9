"""The tables of the store, and how those of older schemas are read as them."""

# 2: digests of another arithmetic (etl.digests). 3: since when each bar, action and note is known.
# 4: the sessions of the exchanges, the interval of the bars, and the source of each.
SCHEMA_VERSION = 4

HEADER_BYTES = 3 * 4096  # before the first block of a DuckDB file

# Volumes are whole numbers of units of 10^-volume_decimals of the instrument: BIGINT holds no more
# decimals than these.
MOST_VOLUME = 2**63 - 1
MOST_DECIMALS = 18


def raise_ten(exponent: str) -> str:
    """SQL: 10 to the power of a whole number from 0 to MOST_DECIMALS, as BIGINT."""
    powers = ", ".join(str(10**power) for power in range(MOST_DECIMALS + 1))
    return f"list_extract([{powers}]::BIGINT[], ({exponent}) + 1)"


OHLCV_TABLE = """
CREATE TABLE ohlcv_data (
    timestamp TIMESTAMP,
    symbol VARCHAR,
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    close DOUBLE,
    volume BIGINT,
    UNIQUE (symbol, timestamp)
)"""

# One row a symbol, kept in step by every load, so that no reader has to scan the bars for it.
# digest is the XOR of the digests of the symbol's bars: it moves with each changed bar. seen_at:
# the newest answer that held a bar of the symbol; …_known_at: the newest that told of its splits,
# of its dividends (NULL: none ever did), actions_known_at of both: the earlier of the two. version:
# a digest of all that answers about the symbol depend on (see etl.store.duckdb_file.versions).
# volume_decimals: the unit of its volumes is 10^-volume_decimals; 0 where all are whole numbers.
# interval: of its bars, as 1d.
INSTRUMENTS_TABLE = """
CREATE TABLE instruments (
    symbol VARCHAR PRIMARY KEY,
    first TIMESTAMP,
    last TIMESTAMP,
    bars BIGINT,
    last_close DOUBLE,
    source VARCHAR,
    basis VARCHAR,
    exchange VARCHAR,
    digest UBIGINT,
    seen_at TIMESTAMP,
    splits_known_at TIMESTAMP,
    dividends_known_at TIMESTAMP,
    actions_known_at TIMESTAMP,
    volume_decimals INTEGER DEFAULT 0,
    interval VARCHAR DEFAULT '1d',
    version UBIGINT
)"""

# Since when the present values of each bar are known (known_from), the newest answer that said so
# (known_at), the run that wrote them, and the source they are of (NULL: another program's). One
# row a bar, in the order of the bars.
KNOWN_TABLE = """
CREATE TABLE ohlcv_known (
    symbol VARCHAR,
    timestamp TIMESTAMP,
    known_from TIMESTAMP,
    known_at TIMESTAMP,
    run_id VARCHAR,
    source VARCHAR
)"""

# kind 'split': ratio is new shares for one old; kind 'dividend': amount is cash a share.
# known_from, known_at: as of a bar.
ACTIONS_TABLE = """
CREATE TABLE corporate_actions (
    symbol VARCHAR,
    ex_date DATE,
    kind VARCHAR,
    ratio DOUBLE,
    amount DOUBLE,
    source VARCHAR,
    known_from TIMESTAMP,
    known_at TIMESTAMP,
    UNIQUE (symbol, ex_date, kind)
)"""

# Actions that a later answer changed or did not have any more, and when they were what was known.
ACTION_REVISIONS_TABLE = """
CREATE TABLE corporate_action_revisions (
    symbol VARCHAR,
    ex_date DATE,
    kind VARCHAR,
    ratio DOUBLE,
    amount DOUBLE,
    source VARCHAR,
    known_from TIMESTAMP,
    known_to TIMESTAMP,
    run_id VARCHAR
)"""

# Answers that held all of a symbol's actions of one kind between two days (both inclusive): what
# such a list does not have, and an older answer has, did not happen.
ACTION_LISTS_TABLE = """
CREATE TABLE action_lists (
    symbol VARCHAR,
    kind VARCHAR,
    first DATE,
    last DATE,
    known_at TIMESTAMP
)"""

# The archived answers that this store has taken.
ANSWERS_TABLE = """
CREATE TABLE answers (
    source VARCHAR,
    number BIGINT,
    fetched_at TIMESTAMP
)"""

# One row: which publication this file is. unsorted_rows counts bars behind the sorted part.
GENERATION_TABLE = """
CREATE TABLE generation (
    generation VARCHAR,
    schema_version INTEGER,
    published_at TIMESTAMP,
    run_id VARCHAR,
    unsorted_rows BIGINT
)"""

# What is suspicious, or not final yet, about a kept bar. A note never changes a value.
NOTES_TABLE = """
CREATE TABLE bar_notes (
    symbol VARCHAR,
    timestamp TIMESTAMP,
    reason VARCHAR,
    detail VARCHAR,
    run_id VARCHAR,
    known_from TIMESTAMP
)"""

# Notes that a later answer made void, and when they were what was known.
NOTE_REVISIONS_TABLE = """
CREATE TABLE bar_note_revisions (
    symbol VARCHAR,
    timestamp TIMESTAMP,
    reason VARCHAR,
    detail VARCHAR,
    known_from TIMESTAMP,
    known_to TIMESTAMP,
    run_id VARCHAR
)"""

# Sessions of the exchange without a bar; cause: rejected, not delivered, not yet published.
GAPS_TABLE = """
CREATE TABLE gaps (
    symbol VARCHAR,
    session DATE,
    cause VARCHAR
)"""

# The first and last session that each calendar knew when it was last asked: on days before and
# after no session is expected, and no bar lies outside sessions. source: what was asked,
# with its version; listed_from: the day from which on `sessions` lists them, to the last.
CALENDARS_TABLE = """
CREATE TABLE calendars (
    exchange VARCHAR,
    first DATE,
    last DATE,
    source VARCHAR,
    listed_from DATE
)"""

# The sessions of the exchanges of all instruments, from a month before the first bar to the last
# session that is known. Instants in UTC; a session without a break has none.
SESSIONS_TABLE = """
CREATE TABLE sessions (
    exchange VARCHAR,
    session DATE,
    open TIMESTAMP,
    close TIMESTAMP,
    break_start TIMESTAMP,
    break_end TIMESTAMP
)"""

# The old values of every bar that changed, and from when to when they were what was known.
REVISIONS_TABLE = """
CREATE TABLE ohlcv_revisions (
    symbol VARCHAR,
    timestamp TIMESTAMP,
    open DOUBLE,
    high DOUBLE,
    low DOUBLE,
    close DOUBLE,
    volume BIGINT,
    known_from TIMESTAMP,
    known_to TIMESTAMP,
    run_id VARCHAR
)"""

# The record of each run (data/runs/), and the outcome of every row it received.
RUNS_TABLE = """
CREATE TABLE etl_runs (
    run_id VARCHAR PRIMARY KEY,
    started_at TIMESTAMP,
    finished_at TIMESTAMP,
    status VARCHAR,
    source VARCHAR,
    calls BIGINT,
    received BIGINT,
    inserted BIGINT,
    revised BIGINT,
    unchanged BIGINT,
    stale BIGINT,
    superseded BIGINT,
    rejected BIGINT,
    out_of_range BIGINT,
    failures VARCHAR,
    stages VARCHAR
)"""
RUN_SYMBOLS_TABLE = """
CREATE TABLE etl_run_symbols (
    run_id VARCHAR,
    symbol VARCHAR,
    received BIGINT,
    inserted BIGINT,
    revised BIGINT,
    unchanged BIGINT,
    stale BIGINT,
    superseded BIGINT,
    rejected BIGINT,
    duplicates BIGINT,
    out_of_range BIGINT,
    digest VARCHAR
)"""

TABLES = {
    "ohlcv_data": OHLCV_TABLE,
    "ohlcv_known": KNOWN_TABLE,
    "instruments": INSTRUMENTS_TABLE,
    "corporate_actions": ACTIONS_TABLE,
    "corporate_action_revisions": ACTION_REVISIONS_TABLE,
    "action_lists": ACTION_LISTS_TABLE,
    "answers": ANSWERS_TABLE,
    "generation": GENERATION_TABLE,
    "bar_notes": NOTES_TABLE,
    "bar_note_revisions": NOTE_REVISIONS_TABLE,
    "gaps": GAPS_TABLE,
    "calendars": CALENDARS_TABLE,
    "sessions": SESSIONS_TABLE,
    "ohlcv_revisions": REVISIONS_TABLE,
    "etl_runs": RUNS_TABLE,
    "etl_run_symbols": RUN_SYMBOLS_TABLE,
}

# The bars with volumes as numbers, for those who read the file with SQL.
BARS_VIEW = f"""
CREATE VIEW bars AS
SELECT b.* REPLACE (volume / {raise_ten("coalesce(volume_decimals, 0)")} AS volume)
FROM ohlcv_data b LEFT JOIN instruments USING (symbol)"""

# Files of schema 1 and 2 had blocks of arrivals in place of ohlcv_known, and nothing of when
# actions and notes were known. Table of today → SQL that reads it out of such a file, {old}.
# An action counts as known from its ex-date, as such files said when asked; a note from its bar.
OLDER_KNOWN = """
SELECT b.symbol, b.timestamp, coalesce(r.known_to, a.known_from) AS known_from,
       greatest(r.known_to, a.known_from) AS known_at, coalesce(r.run_id, a.run_id) AS run_id,
       i.source
FROM {old}.ohlcv_data b
LEFT JOIN (SELECT symbol, source FROM {old}.instruments) i ON i.symbol = b.symbol
LEFT JOIN (SELECT symbol, timestamp, max(known_to) AS known_to,
                  arg_max(run_id, known_to) AS run_id
           FROM {old}.ohlcv_revisions GROUP BY ALL) r
ON r.symbol = b.symbol AND r.timestamp = b.timestamp
ASOF LEFT JOIN {old}.ohlcv_arrivals a ON a.symbol = b.symbol AND a.first <= b.timestamp"""
OLDER_ACTION_AT = """
least(ex_date::TIMESTAMP, (SELECT max(published_at) FROM {old}.generation))"""
OLDER_TABLES = {
    "ohlcv_data": "FROM {old}.ohlcv_data",
    "ohlcv_known": OLDER_KNOWN,
    "instruments": f"""
        SELECT i.*, seen_at, NULL::TIMESTAMP AS splits_known_at,
               NULL::TIMESTAMP AS dividends_known_at, NULL::TIMESTAMP AS actions_known_at,
               0 AS volume_decimals, '1d' AS interval, NULL::UBIGINT AS version
        FROM {{old}}.instruments i LEFT JOIN (
            SELECT symbol, max(known_at) AS seen_at FROM ({OLDER_KNOWN}) GROUP BY symbol)
        USING (symbol)""",
    "corporate_actions": f"""
        SELECT *, {OLDER_ACTION_AT} AS known_from, {OLDER_ACTION_AT} AS known_at
        FROM {{old}}.corporate_actions""",
    "bar_notes": f"""
        SELECT n.*, known_from FROM {{old}}.bar_notes n
        LEFT JOIN ({OLDER_KNOWN}) k USING (symbol, timestamp)""",
    "generation": "FROM {old}.generation",
    "gaps": "FROM {old}.gaps",
    "ohlcv_revisions": "FROM {old}.ohlcv_revisions",
    "etl_runs": "SELECT *, 0::BIGINT AS superseded FROM {old}.etl_runs",
    "etl_run_symbols": "SELECT *, 0::BIGINT AS superseded FROM {old}.etl_run_symbols",
}


# Of a file of schema 3. It says of no calendar how far it lists its sessions: it has none.
TABLES_OF_3 = {
    **{table: f"FROM {{old}}.{table}" for table in TABLES if table != "sessions"},
    "instruments": "SELECT *, '1d' AS interval FROM {old}.instruments",
    "ohlcv_known": """
        SELECT k.*, i.source FROM {old}.ohlcv_known k
        LEFT JOIN (SELECT symbol, source FROM {old}.instruments) i USING (symbol)""",
    "calendars": """
        SELECT *, NULL::VARCHAR AS source, NULL::DATE AS listed_from FROM {old}.calendars""",
}


def select_older(version: int) -> dict[str, str]:
    """Table of today → SQL that reads it out of a file of an older schema, {old}."""
    return OLDER_TABLES if version < 3 else TABLES_OF_3


def list_older_tables(version: int) -> set[str]:
    """The tables that a file of an older schema has."""
    if version < 3:
        return (OLDER_TABLES.keys() - {"ohlcv_known"}) | {"ohlcv_arrivals"}
    return {*TABLES_OF_3}


def list_older_views(name: str, old: str, version: int) -> list[str]:
    """The SQL that makes, in the schema `name`, today's tables of an attached file of an older
    schema: what reads them needs to know of no other schema."""
    selects = select_older(version)
    nothing = {table: ddl for table, ddl in TABLES.items() if table not in selects}
    return [
        *(
            f"CREATE VIEW {name}.{table} AS {select.format(old=old)}"
            for table, select in selects.items()
        ),
        *(ddl.replace(f"TABLE {table}", f"TABLE {name}.{table}") for table, ddl in nothing.items()),
    ]
