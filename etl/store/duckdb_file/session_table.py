"""The sessions of the exchanges, as tables of the store: written once, and read by later loads."""

from datetime import date

import duckdb

from etl.calendar_names import resolve_name
from etl.market import sessions
from etl.market.sessions import MARGIN

# What `next` does not list of the exchanges of its instruments: nothing, not from a month before
# the first bar on, or (of those of this load) what another version of the source said.
OUTDATED = """
SELECT i.exchange, i.start, c.first, c.last FROM (
    SELECT exchange, min(first)::DATE AS start FROM next.instruments
    WHERE exchange IS NOT NULL GROUP BY exchange) i
LEFT JOIN next.calendars c USING (exchange)
WHERE c.listed_from IS NULL OR c.listed_from > greatest(i.start - $margin, c.first)
OR (c.source <> $source AND i.exchange IN (SELECT exchange FROM symbol_exchanges))
ORDER BY i.exchange"""


def write_calendars(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Bring `calendars` and `sessions` of `next` in step with its instruments.

    Returns the exchanges of which another span is known than before.
    """
    margin, source = MARGIN.days, sessions.name_source()
    outdated = connection.execute(OUTDATED, {"margin": margin, "source": source}).fetchall()
    known = [row for row in outdated if resolve_name(row[0]) == row[0]]
    spans = {name: list_calendar(connection, name, start) for name, start, _, _ in known}
    return [name for name, _, *span in known if spans[name] != tuple(span)]


def list_calendar(
    connection: duckdb.DuckDBPyConnection, name: str, start: date
) -> tuple[date, date]:
    """Write one calendar with its sessions; returns the first and the last that is known."""
    days = sessions.read_calendar(name).sessions
    listed_from = max(start - MARGIN, days[0])
    for table in ("calendars", "sessions"):
        connection.execute(f"DELETE FROM next.{table} WHERE exchange = ?", [name])
    connection.execute(
        """INSERT INTO next.calendars BY NAME SELECT $name AS exchange, $first::DATE AS first,
        $last::DATE AS last, $source AS source, $listed_from::DATE AS listed_from""",
        {"name": name, "first": days[0], "last": days[-1], "source": sessions.name_source()}
        | {"listed_from": listed_from},
    )
    connection.register("listed", sessions.list_sessions(name, listed_from))
    connection.execute("INSERT INTO next.sessions BY NAME FROM listed ORDER BY session")
    connection.unregister("listed")
    return days[0], days[-1]


def find_wrong(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The exchanges of `store` whose sessions are not those that their calendar has now. One that
    another version of the source wrote is not examined: it is written anew by its next load."""
    listed = connection.execute(
        "SELECT exchange, listed_from FROM store.calendars WHERE source = ? ORDER BY exchange",
        [sessions.name_source()],
    ).fetchall()
    return [name for name, start in listed if not is_as_built(connection, name, start)]


def is_as_built(connection: duckdb.DuckDBPyConnection, name: str, start: date) -> bool:
    connection.register("built", sessions.list_sessions(name, start))
    stored = "SELECT * FROM store.sessions WHERE exchange = $name"
    found = connection.execute(
        f"""SELECT count(*) FROM (
            (FROM built EXCEPT ALL {stored}) UNION ALL ({stored} EXCEPT ALL FROM built))""",
        {"name": name},
    ).fetchall()
    connection.unregister("built")
    return not found[0][0]
