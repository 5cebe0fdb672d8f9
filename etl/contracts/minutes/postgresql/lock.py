"""The one place of a writer: an advisory lock, which ends with the connection that holds it."""

from etl.contracts.minutes import MinuteStoreError
from etl.contracts.minutes.postgresql.connections import Connection

KEY = 0x6D696E75746573  # "minutes"; of this database
TAKE = f"SELECT pg_try_advisory_lock({KEY})".encode()
HOLDER = f"""
SELECT coalesce(a.application_name, 'another user''s process'), l.pid,
       to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted
  AND l.classid = {KEY >> 32} AND l.objid = {KEY & 0xFFFFFFFF}
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())""".encode()


def take_place(connection: Connection, shown: str) -> None:
    """MinuteStoreError where another one writes: who."""
    taken = connection.execute(TAKE).fetchone()
    if taken == (True,):
        return
    found = connection.execute(HOLDER).fetchone()
    who = "another process"
    if found is not None:
        name, pid, since = found
        who = f"{name or 'another process'} (backend {pid}, connected since {since} UTC)"
    raise MinuteStoreError(f"{who} writes to {shown} now: wait till it ends")
