"""What comes, set against what is known of it, before anything is written."""

import logging
from typing import Any

import duckdb

from etl.base import parquet_sql
from etl.base.errors import StoreError
from etl.base.parquet_sql import bound
from etl.rules import newer_actions, newer_bars
from etl.settings import Settings
from etl.store import calendars

log = logging.getLogger("etl")


def replaces_sample(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the store holds the sample and real bars come.

    Raises StoreError where the sample would join real bars.
    """
    is_sample = "SELECT bool_and(source = 'sample') FROM "
    all_known = connection.execute(is_sample + "known_instruments").fetchall()[0][0]
    all_coming = connection.execute(is_sample + "incoming").fetchall()[0][0]  # None: nothing comes
    if all_coming and all_known is False:
        raise StoreError(
            "the store holds real bars, and the sample does not mix with them: set AV_API_KEY or"
            " SOURCE, or try the sample in a folder of its own (DATA_DIR)"
        )
    if not all_known or all_coming is not False:
        return False
    bars = connection.execute("SELECT count(*) FROM known_bars").fetchall()[0][0]
    log.warning("load: real bars come, so the sample's %s bars are dropped", f"{bars:,}")
    return True


def leave_out_clashes(connection: duckdb.DuckDBPyConnection, record: dict[str, Any]) -> None:
    """Bars as traded and bars adjusted for splits never mix within a symbol: `incoming` without
    the symbols that come on another basis than is stored, which are failures of the run.

    Raises StoreError where nothing else came.
    """
    clashes = connection.execute(
        """SELECT symbol, s.basis, i.basis, i.source, rows
        FROM (SELECT symbol, any_value(basis) AS basis, any_value(source) AS source,
                     count(*) AS rows FROM incoming GROUP BY symbol) i
        JOIN known_instruments s USING (symbol) WHERE s.basis <> i.basis ORDER BY symbol"""
    ).fetchall()
    record["failures"] = {clash[0]: f"basis: {explain_clash(*clash[:4])}" for clash in clashes}
    record["left_out"] = {clash[0]: clash[4] for clash in clashes}
    if not clashes:
        return
    connection.execute("ALTER VIEW incoming RENAME TO offered")
    symbols = ", ".join(parquet_sql.quote(symbol) for symbol in record["left_out"])
    connection.execute(f"CREATE TEMP VIEW incoming AS FROM offered WHERE symbol NOT IN ({symbols})")
    told = [explain_clash(*clash[:4]) for clash in clashes[:5]]
    more = f"; and {len(clashes) - 5} more" if clashes[5:] else ""
    if not connection.execute("FROM incoming LIMIT 1").fetchall():
        raise StoreError("; ".join(told) + more)
    log.warning("load: left out, the rest is loaded: %s%s", "; ".join(told), more)


def explain_clash(symbol: str, stored: str, came: str, source: str) -> str:
    """What clashes, with a remedy that does something: a vendor's basis cannot be set."""
    remedy = (
        f"set SOURCE_ADJUSTMENT={stored} if that is what the prices are"
        if source == "files"
        else f"take {symbol} out of SYMBOLS, or load its file anew in an empty DATA_DIR with"
        f" SOURCE_ADJUSTMENT={came} if that is what its prices are"
    )
    return (
        f"{symbol} is stored with basis {stored} and comes with basis {came}: {remedy},"
        " or load them into a store of their own (DATA_DIR)"
    )


def changes_store(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    return has_news(connection) or has_moved(connection, settings)


def has_news(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether anything comes that the store does not know yet, be it that an answer was taken."""
    news = (
        "FROM pending",
        newer_actions.compare("incoming_actions", "known_actions", "known_lists"),
        newer_actions.find_newer_lists("incoming_lists", "known_lists"),
        "FROM incoming_answers EXCEPT FROM known_answers",
    )
    return any(connection.execute(f"FROM ({query}) LIMIT 1").fetchall() for query in news)


def has_moved(connection: duckdb.DuckDBPyConnection, settings: Settings) -> bool:
    """Whether a stored symbol has another calendar now: its gaps and notes are of the old one."""
    return bool(calendars.find_moved(connection, "known_instruments", settings.exchange))


def compare_bars(connection: duckdb.DuckDBPyConnection, is_fresh: bool) -> None:
    """`compared`: bars that are new, different or newer than what is stored; `pending`: those of
    them that count, and those of vendors behind, to be compared."""
    if is_fresh:
        # nothing to compare with: views spare the memory of a copy
        connection.execute(
            f"CREATE TEMP VIEW compared AS SELECT *, {newer_bars.NOTHING_STORED} FROM incoming"
        )
        connection.execute("CREATE TEMP VIEW pending AS FROM compared")
        return
    days = bound(connection, "SELECT min(timestamp), max(timestamp) FROM incoming")
    compared = newer_bars.compare("incoming", "held_bars", "known_since", days)
    connection.execute(f"CREATE TEMP TABLE compared AS {compared}")
    connection.execute(
        f"CREATE TEMP VIEW pending AS FROM compared WHERE {newer_bars.counts()} OR is_outranked"
    )
