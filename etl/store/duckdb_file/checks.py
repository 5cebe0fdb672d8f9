"""What must hold in the published file, attached as `store`: checks that list what does not."""

from collections.abc import Iterator

import duckdb

from etl.contracts import bar_digests
from etl.contracts.runs import COUNTS, OUTCOMES
from etl.store.duckdb_file import attached, session_table, versions

SUM_OF_FATES = " + ".join(OUTCOMES)

# The number of the publication that a run made: it grows though the clock may be set back.
PUBLICATION = (
    "split_part(coalesce(r.stages->>'$.load.generation', r.stages->>'$.rollback.generation'),"
    " '-', 1)::BIGINT"
)

# What must hold in the database: (what is said, SQL that lists what does not hold). $digest is
# that of a bar, under the schema of the file.
CHECKS = (
    (
        "each key once, none NULL",
        """SELECT symbol, timestamp, count(*) FROM store.ohlcv_data GROUP BY ALL
        HAVING count(*) > 1 OR symbol IS NULL OR timestamp IS NULL""",
    ),
    (
        "instruments as the bars say",
        """SELECT symbol, i.bars, b.bars FROM store.instruments i FULL JOIN (
            SELECT symbol, min(timestamp) AS first, max(timestamp) AS last, count(*) AS bars,
                   arg_max(close, timestamp) AS last_close, bit_xor($digest) AS digest
            FROM store.ohlcv_data GROUP BY symbol) b USING (symbol)
        WHERE (i.first, i.last, i.bars, i.last_close, i.digest)
              IS DISTINCT FROM (b.first, b.last, b.bars, b.last_close, b.digest)""",
    ),
    (
        "volumes are in a unit of 0 to 18 decimals",
        """SELECT symbol, volume_decimals FROM store.instruments
        WHERE volume_decimals IS NULL OR volume_decimals NOT BETWEEN 0 AND 18""",
    ),
    (
        "each run's fates add up, symbol by symbol",
        f"""SELECT run_id, symbol, s.received, {SUM_OF_FATES} FROM store.etl_run_symbols s
        JOIN (SELECT run_id, status, stages FROM store.etl_runs) USING (run_id)
        WHERE status = 'ok' AND (stages->'$.load') IS NOT NULL AND received <> {SUM_OF_FATES}""",
    ),
    (
        "each run's totals are the sums over its symbols",
        f"""SELECT run_id FROM store.etl_runs r FULL JOIN (
            SELECT run_id, {", ".join(f"sum({name}) AS {name}" for name in COUNTS)}
            FROM store.etl_run_symbols GROUP BY run_id) s USING (run_id)
        WHERE r.run_id IS NULL
        OR {" OR ".join(f"r.{name} <> coalesce(s.{name}, 0)" for name in COUNTS)}""",
    ),
    (
        "each symbol's bars are those of the last run that loaded it",
        f"""SELECT symbol, i.digest, s.digest FROM store.instruments i JOIN (
            SELECT symbol, arg_max(s.digest, {PUBLICATION}) AS digest
            FROM store.etl_run_symbols s JOIN store.etl_runs r USING (run_id)
            WHERE s.digest IS NOT NULL GROUP BY symbol) s USING (symbol)
        WHERE format('{{:016x}}', i.digest) <> s.digest""",
    ),
    (
        "each bar has one row that says since when it is known",
        """SELECT symbol, timestamp FROM (
            SELECT symbol, timestamp, 1 AS bars, 0 AS known FROM store.ohlcv_data
            UNION ALL SELECT symbol, timestamp, 0, 1 FROM store.ohlcv_known
            WHERE known_from <= known_at)
        GROUP BY ALL HAVING sum(bars) <> 1 OR sum(known) <> 1""",
    ),
    (
        "instruments name the newest answer that each bar and action stands on",
        """SELECT symbol FROM store.instruments i LEFT JOIN (
            SELECT symbol, max(known_at) AS seen_at FROM store.ohlcv_known GROUP BY symbol)
            k USING (symbol)
        LEFT JOIN (
            SELECT symbol, max(known_at) FILTER (kind = 'split') AS splits,
                   max(known_at) FILTER (kind = 'dividend') AS dividends
            FROM (SELECT symbol, kind, known_at FROM store.corporate_actions
                  UNION ALL SELECT symbol, kind, known_at FROM store.action_lists)
            GROUP BY symbol) a USING (symbol)
        WHERE (SELECT max(schema_version) >= 3 FROM store.generation)
        AND (i.seen_at, splits_known_at, dividends_known_at)
            IS DISTINCT FROM (k.seen_at, a.splits, a.dividends)""",
    ),
    (
        "each symbol has the version that is computed of its rows",
        f"""SELECT symbol, i.version, v.version FROM store.instruments i
        JOIN ({versions.select_versions("store")}) v USING (symbol)
        WHERE (SELECT max(schema_version) >= 3 FROM store.generation)
        AND i.version IS DISTINCT FROM v.version""",
    ),
    (
        "the values of each bar follow one another without a gap in time",
        """SELECT symbol, timestamp FROM (
            SELECT symbol, timestamp, known_from,
                   lag(known_to) OVER (PARTITION BY symbol, timestamp
                                       ORDER BY known_from, known_to) AS ended
            FROM (SELECT symbol, timestamp, known_from, known_to FROM store.ohlcv_revisions
                  UNION ALL SELECT symbol, timestamp, known_from, 'infinity'::TIMESTAMP
                  FROM store.ohlcv_known SEMI JOIN store.ohlcv_revisions USING (symbol, timestamp)))
        WHERE ended <> known_from""",
    ),
    (
        "no corporate action or note is known twice at a time, or ends before it begins",
        """SELECT * FROM (
            SELECT symbol, what, known_from, known_to, lead(known_from) OVER (
                PARTITION BY symbol, what, kind ORDER BY known_from, known_to) AS following
            FROM (SELECT symbol, ex_date::TIMESTAMP AS what, kind, known_from,
                         'infinity'::TIMESTAMP AS known_to FROM store.corporate_actions
                  UNION ALL SELECT symbol, ex_date, kind, known_from, known_to
                  FROM store.corporate_action_revisions
                  UNION ALL SELECT symbol, timestamp, reason, known_from, 'infinity'::TIMESTAMP
                  FROM store.bar_notes
                  UNION ALL SELECT symbol, timestamp, reason, known_from, known_to
                  FROM store.bar_note_revisions))
        WHERE known_from IS NULL OR known_to <= known_from OR following < known_to""",
    ),
    (
        "each action is no older than a list of all actions of its days",
        """SELECT symbol, ex_date, c.kind FROM store.corporate_actions c
        JOIN store.action_lists l USING (symbol)
        WHERE l.kind = c.kind AND ex_date BETWEEN l.first AND l.last
        AND l.known_at > c.known_at""",
    ),
    (
        "no answer is taken twice",
        "SELECT source, number, fetched_at FROM store.answers GROUP BY ALL HAVING count(*) > 1",
    ),
    (
        "no revision is of an unknown bar, or ends before it begins",
        """SELECT symbol, timestamp FROM store.ohlcv_revisions r WHERE known_to < known_from
        OR NOT EXISTS (FROM store.ohlcv_data b
                       WHERE b.symbol = r.symbol AND b.timestamp = r.timestamp)""",
    ),
    (
        "no note is of an unknown bar",
        """SELECT symbol, timestamp, reason FROM store.bar_notes n
        WHERE NOT EXISTS (FROM store.ohlcv_data b
                          WHERE b.symbol = n.symbol AND b.timestamp = n.timestamp)""",
    ),
    (
        "no gap has a bar",
        """SELECT g.symbol, session FROM store.gaps g JOIN store.ohlcv_data b
        ON b.symbol = g.symbol AND b.timestamp = g.session""",
    ),
)


def check_tables(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str]]:
    """(what is said, the first things that contradict it) of each check."""
    version = attached.read_one(connection, "SELECT schema_version FROM store.generation")
    for said, check in CHECKS:
        query = check.replace("$digest", bar_digests.OF_BAR[version])
        try:
            rows = connection.execute(f"FROM ({query}) LIMIT 3").fetchall()
        except duckdb.Error as error:
            rows = [(str(error).splitlines()[0],)]
        yield said, "; ".join(" ".join(map(str, row)) for row in rows)
    wrong = session_table.find_wrong(connection)
    yield "each exchange has the sessions of its calendar", " ".join(wrong)
