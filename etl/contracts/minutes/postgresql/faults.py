"""What the server says, as one message with the remedy; never with a password."""

import re

import psycopg

from etl.contracts.minutes import MinuteStoreError, StoreDown
from etl.contracts.minutes.postgresql.address import Address

GRANTS = (
    "as the owner: GRANT USAGE ON SCHEMA minutes TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA"
    " minutes TO {user}; who loads has to own the schema (GRANT CREATE ON DATABASE {database})"
)
# While connecting the server's code is not told, its text is: (what it says, what that means).
WHEN_CONNECTING = (
    (r"^invalid .* value", "is no address: see MINUTE_STORE"),
    (r"password authentication failed", "refuses the password: set MINUTE_STORE_PASSWORD"),
    (r"no password supplied", "wants a password: set MINUTE_STORE_PASSWORD"),
    (r"no pg_hba.conf entry", "lets this user in from nowhere here: add a line to its pg_hba.conf"),
    (r'database ".*" does not exist', "has no such database: createdb {database}"),
    (r'role ".*" does not exist', "has no such user: createuser {user}"),
    (
        r"permission denied for database",
        "denies it: GRANT CONNECT ON DATABASE {database} TO {user}",
    ),
    (
        r"root certificate|SSL|certificate",
        "and this client disagree about TLS: see sslmode",
    ),
)
# Code of an error, its beginning, or all of it → what that means. Of StoreDown another try may do.
DOWN = {
    "08": "does not answer (any more)",
    "53300": "has no connection left: raise max_connections, or run fewer processes",
    "57014": "took longer than QUERY_TIMEOUT allows",
    "57P": "is shutting down or starting",
    "55P03": "was waited for too long: another session has locked the tables",
    "40": "had to choose between two transactions",
    "25P03": "ended the transaction for idling: set idle_in_transaction_session_timeout=0",
}
REFUSED = {
    "42501": f"denies it: {GRANTS}",
    "53100": "has no room left on its disk: make room, then load again",
    "53": "is short of something: see its log",
    "42P0": "has a schema `minutes` that is not of this service: name another database",
    "42703": "has tables of another version in the schema `minutes`: name another database",
    "25006": "only reads (a standby): name the primary",
    "XX": "says that its files are damaged: restore a backup",
    "58": "cannot read or write its files: see its log",
}


def translate(error: psycopg.Error, address: Address) -> MinuteStoreError:
    """What to raise in its place, `from None`: its own text may hold what is given to libpq."""
    code = error.sqlstate or ""
    names = {"user": address.user, "database": address.database}
    said = first_line(str(error), address)
    if not code and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return tell_connecting(said, address.shown, names)
    for codes, kind in ((DOWN, StoreDown), (REFUSED, MinuteStoreError)):
        for meaning in (codes[code[:n]] for n in (5, 4, 3, 2) if code[:n] in codes):
            return kind(f"{address.shown} {meaning.format(**names)} ({said})")
    return MinuteStoreError(f"{address.shown} refuses what it was asked: {said} ({code})")


def tell_connecting(said: str, shown: str, names: dict[str, str]) -> MinuteStoreError:
    for pattern, meaning in WHEN_CONNECTING:
        if re.search(pattern, said):
            return MinuteStoreError(f"{shown} {meaning.format(**names)} ({said})")
    return StoreDown(f"{shown} does not answer: is PostgreSQL running there? ({said})")


def first_line(text: str, address: Address) -> str:
    """What it says, without where in the statement, and without what libpq tries next."""
    line = next(iter(address.strike(text).splitlines()), "")
    return line.removeprefix("connection failed: ").removeprefix("connection is bad: ").strip()
