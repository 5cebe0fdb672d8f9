"""Where the server is: a URL as libpq reads it, without the password in what is shown of it."""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from etl.contracts.minutes import MinuteStoreError
from etl.credentials.redaction import redact, remember

CONNECT_SECONDS = 5
# A peer that is gone without a word is found out by the system; one that thinks long is left alone.
ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


@dataclass(frozen=True)
class Address:
    """How to connect. options: of libpq, with the password; shown: for messages, without it."""

    options: Mapping[str, str | int]
    shown: str

    def strike(self, text: str) -> str:
        return redact(text, str(self.options.get("password", "")))

    @property
    def database(self) -> str:
        return str(self.options.get("dbname") or self.user)

    @property
    def user(self) -> str:
        return str(self.options.get("user") or "the user")


def read_address(url: str, password: str, shown: str) -> Address:
    """What the URL says counts; without a password in either, libpq's own ways do (PGPASSWORD,
    PGPASSFILE, a certificate). MinuteStoreError: no URL that libpq reads."""
    try:
        given = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
    except ProgrammingError:  # which quotes what it could not read
        raise MinuteStoreError(
            f"MINUTE_STORE ({shown}) is no address of PostgreSQL: wanted"
            " postgresql://user@host:5432/database, with libpq's parameters (?sslmode=require),"
            " other characters as %40, the password in MINUTE_STORE_PASSWORD"
        ) from None
    beside: dict[str, str | int] = {"password": password} if password else {}
    process: dict[str, str | int] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": name_process(),
        **ALIVE,
    }
    options: dict[str, str | int] = {**process, **beside, **given, "client_encoding": "UTF8"}
    remember([str(options.get("password", ""))])
    return Address(MappingProxyType(options), shown)


def name_process() -> str:
    """Who is connected, as pg_stat_activity shows it: a second writer is told this name."""
    command = Path(sys.argv[0] if sys.argv else "")
    name = command.parent.name if command.stem == "__main__" else command.stem
    return f"{name or 'python'}, process {os.getpid()} on {socket.gethostname()}"[:63]
