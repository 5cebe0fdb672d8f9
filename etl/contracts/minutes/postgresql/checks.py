"""What must hold of the tables beside what holds in any engine (etl.contracts.minutes.verify)."""

from collections.abc import Iterator

from etl.contracts.minutes import BASE_INTERVALS
from etl.contracts.minutes.postgresql.connections import Connection
from etl.contracts.minutes.postgresql.generation import BEGIN, read_head

Line = tuple[str, str]  # what must hold, what contradicts it
FEW = 3
# What must hold → SQL: what contradicts it, as text.
CHECKS = {
    "each bar is of a symbol that is known": """
        SELECT format('%s bars of {interval} where instruments say %s', b.bars, i.bars)
        FROM (SELECT count(*) AS bars FROM minutes.bars_{interval}) b,
             (SELECT coalesce(sum(bars), 0) AS bars FROM minutes.instruments
              WHERE interval = '{interval}') i
        WHERE b.bars <> i.bars""",
    "each bar is at a step of its interval, and seen since it is known": """
        SELECT format('%s %s', symbol, timestamp) FROM minutes.bars_{interval}
        WHERE extract(epoch FROM timestamp) % {seconds} <> 0 OR seen_at < known_at
        ORDER BY 1""",
    "revisions follow each other, and the bar follows them": """
        SELECT format('%s %s', r.symbol, r.timestamp) FROM (
            SELECT *, lead(known_at) OVER (PARTITION BY symbol, timestamp ORDER BY known_at)
                   AS following
            FROM minutes.revisions_{interval}) r
        LEFT JOIN minutes.bars_{interval} b USING (symbol, timestamp)
        WHERE known_until IS DISTINCT FROM coalesce(following, b.known_at)
           OR r.known_at >= known_until ORDER BY 1""",
}


def check_tables(connection: Connection) -> Iterator[Line]:
    """As of one instant."""
    with connection.transaction():
        connection.execute(BEGIN)
        if not read_head(connection).counter:
            return
        for name, query in CHECKS.items():
            found = [
                text
                for interval, seconds in BASE_INTERVALS.items()
                for text in ask(connection, query.format(interval=interval, seconds=seconds))
            ]
            yield name, "; ".join(found[:FEW])


def ask(connection: Connection, query: str) -> list[str]:
    return [row[0] for row in connection.execute(f"{query} LIMIT {FEW}".encode())]
