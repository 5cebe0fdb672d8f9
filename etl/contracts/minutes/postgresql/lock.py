"""The one place of a writer: an advisory lock, which ends with the connection that holds it."""

from contextlib import suppress

import psycopg
from psycopg.errors import LockNotAvailable

from etl.contracts.minutes import StoreDown
from etl.contracts.minutes.postgresql.connections import Connection

KEY = 0x6D696E75746573  # "minutes"; of this database
# A moment, for the server may not yet have seen that the one before was killed.
WAIT = b"SET lock_timeout = '1s'"
TAKE = f"SELECT pg_advisory_lock({KEY})".encode()
LET_GO = f"SELECT pg_advisory_unlock({KEY})".encode()
HOLDER = f"""
SELECT coalesce(a.application_name, 'another user''s process'), l.pid,
       to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted
  AND l.classid = {KEY >> 32} AND l.objid = {KEY & 0xFFFFFFFF}
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())""".encode()


def take_place(connection: Connection, shown: str) -> None:
    """StoreDown where another one writes: who."""
    connection.execute(WAIT)
    try:
        connection.execute(TAKE)
        return
    except LockNotAvailable:
        pass
    found = connection.execute(HOLDER).fetchone()
    who = "another process"
    if found is not None:
        name, pid, since = found
        who = f"{name or 'another process'} (backend {pid}, connected since {since} UTC)"
    raise StoreDown(f"{who} writes to {shown} now: wait till it ends")


def let_go(connection: Connection) -> None:
    """At once: the server sees the end of a connection only after its client does."""
    if not connection.closed:
        with suppress(psycopg.Error):
            connection.execute(LET_GO)
