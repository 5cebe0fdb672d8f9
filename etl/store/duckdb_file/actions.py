"""Corporate actions in `next`, with those that were known once (see etl.rules.newer_actions)."""

import duckdb

from etl.rules.newer_actions import KEY, compare, find_newer_lists

ANY_ACTION = "SELECT 1 FROM round_actions UNION ALL SELECT 1 FROM round_lists"
NO_NEW_ACTIONS = "CREATE OR REPLACE TEMP TABLE new_actions (symbol VARCHAR, ex_date DATE)"


def write_actions(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Bring the actions of `next` in step with `round_actions` and `round_lists`.

    Leaves `new_actions` (symbol, ex_date): those that are new, changed or withdrawn.
    """
    if not connection.execute(f"{ANY_ACTION} LIMIT 1").fetchall():
        connection.execute(NO_NEW_ACTIONS)
        return
    heard = compare("round_actions", "next.corporate_actions", "next.action_lists")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE heard AS {heard}")
    find_withdrawn(connection)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE new_actions AS
        SELECT symbol, ex_date FROM heard WHERE differs
        UNION SELECT symbol, ex_date FROM withdrawn"""
    )
    write_revisions(connection, run_id)
    connection.execute(
        f"DELETE FROM next.corporate_actions WHERE ({KEY}) IN (SELECT ({KEY}) FROM withdrawn)"
    )
    connection.execute(
        f"""INSERT INTO next.corporate_actions
        SELECT {KEY}, ratio, amount, source, fetched_at, fetched_at FROM heard ORDER BY {KEY}
        ON CONFLICT ({KEY}) DO UPDATE SET
            known_from = CASE WHEN (ratio, amount) IS DISTINCT FROM (excluded.ratio,
                excluded.amount) THEN excluded.known_from ELSE known_from END,
            source = CASE WHEN (ratio, amount) IS DISTINCT FROM (excluded.ratio,
                excluded.amount) THEN excluded.source ELSE source END,
            ratio = excluded.ratio, amount = excluded.amount, known_at = excluded.known_at"""
    )
    write_lists(connection)


def find_withdrawn(connection: duckdb.DuckDBPyConnection) -> None:
    """`withdrawn`: stored actions that a newer list has not got."""
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE withdrawn AS
        SELECT c.*, max(l.fetched_at) AS fetched_at
        FROM (FROM next.corporate_actions ANTI JOIN round_actions USING ({KEY})) c
        JOIN round_lists l ON l.symbol = c.symbol AND l.kind = c.kind
             AND c.ex_date BETWEEN l.first AND l.last AND l.fetched_at > c.known_at
        GROUP BY ALL"""
    )


def write_revisions(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    connection.execute(
        f"""INSERT INTO next.corporate_action_revisions
        SELECT {KEY}, ratio, amount, source, known_from, known_to, $run FROM (
            SELECT {KEY}, old_ratio AS ratio, old_amount AS amount, old_source AS source,
                   known_from, fetched_at AS known_to FROM heard WHERE differs AND NOT is_new
            UNION ALL SELECT {KEY}, ratio, amount, source, known_from, fetched_at FROM withdrawn)
        WHERE known_from < known_to ORDER BY {KEY}""",
        {"run": run_id},
    )


def write_lists(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the newest list of each span of days; one within a newer one says nothing more."""
    newer = find_newer_lists("round_lists", "next.action_lists")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE newer_lists AS {newer}")
    connection.execute(
        """DELETE FROM next.action_lists l WHERE EXISTS (
            FROM newer_lists n WHERE n.symbol = l.symbol AND n.kind = l.kind
            AND n.first <= l.first AND n.last >= l.last AND n.fetched_at >= l.known_at)"""
    )
    connection.execute(
        """INSERT INTO next.action_lists
        SELECT symbol, kind, first, last, fetched_at FROM newer_lists ORDER BY ALL"""
    )


def tell_instruments(connection: duckdb.DuckDBPyConnection) -> None:
    """Say in `next.instruments` when the actions of the symbols of this round were last told.

    Also where none comes: an instrument may be new whose actions came before its first bar.
    """
    any_stored = "SELECT 1 FROM next.corporate_actions UNION ALL SELECT 1 FROM next.action_lists"
    if not connection.execute(f"{any_stored} LIMIT 1").fetchall():
        return
    connection.execute(
        """UPDATE next.instruments i SET splits_known_at = k.splits,
            dividends_known_at = k.dividends, actions_known_at = CASE
                WHEN k.splits < k.dividends THEN k.splits
                WHEN k.splits IS NOT NULL THEN k.dividends END
        FROM (SELECT symbol, max(known_at) FILTER (kind = 'split') AS splits,
                     max(known_at) FILTER (kind = 'dividend') AS dividends
              FROM (SELECT symbol, kind, known_at FROM next.corporate_actions
                    UNION ALL SELECT symbol, kind, known_at FROM next.action_lists)
              SEMI JOIN round_instants USING (symbol) GROUP BY symbol) k
        WHERE k.symbol = i.symbol"""
    )
