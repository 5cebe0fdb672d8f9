"""Questions to one ClickHouse database, and one clear message where it does not answer them."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from urllib3.exceptions import HTTPError

from etl.contracts.minutes import MinuteStoreError, StoreDown
from etl.contracts.minutes.clickhouse.address import Address

CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
PAUSE = 1.0  # seconds in which a server that did not answer is not asked again
ROWS_A_BLOCK = 250_000  # of an insert: what is encoded and sent in one piece

Values = Mapping[str, object]

# Codes of the server → what is said of it. {error} is its own first line.
UNKNOWN_TABLE, UNKNOWN_DATABASE = 60, 81
DENIED = (
    "refuses user {user!r}: set MINUTE_STORE_PASSWORD, or the user in MINUTE_STORE, as the server"
    " knows them"
)
FORBIDDEN = (
    "does not let user {user!r} do that: the API needs SELECT on {database}.*, the ETL ALL on it"
    " (deploy/README.md has the grants)"
)
REMEDIES = {
    UNKNOWN_DATABASE: "has no database {database!r}: create it (CREATE DATABASE {database})",
    UNKNOWN_TABLE: (
        "is there in part only ({error}): restore it from a backup, or drop the database, create"
        " it and load anew"
    ),
    **dict.fromkeys((192, 193, 194, 516), DENIED),
    **dict.fromkeys((164, 497), FORBIDDEN),
    **dict.fromkeys(
        (16, 47, 53, 386),
        "has tables of this name that are not ours ({error}): give MINUTE_STORE a database of its"
        " own",
    ),
}
BUSY = {
    159: "it took too long",
    202: "too many questions at once",
    209: "it took too long",
    241: "it has no memory left for it",
    243: "its disk is full",
    252: "it is behind with merging",
}


class MissingTable(MinuteStoreError):
    """A table is not there: never made, or taken away since."""


class Link:
    """One client for all threads, made when it is first needed."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.lock = threading.Lock()
        self.client: Any = None
        self.down_until = 0.0
        # what goes wrong is raised, and told once
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)

    def read(self, sql: str, values: Values | None = None) -> pa.Table:
        """The rows of a query; instants as naive UTC."""
        with self.telling():
            return strip_zones(self.connect().query_arrow(sql, values))

    def command(self, sql: str, values: Values | None = None) -> None:
        with self.telling():
            self.connect().command(sql, values)

    def insert(self, table: str, rows: pa.Table) -> None:
        """Rows into a table, a block at a time."""
        with self.telling():
            client = self.connect()
            for start in range(0, rows.num_rows, ROWS_A_BLOCK):
                client.insert_arrow(table, rows.slice(start, ROWS_A_BLOCK))

    def connect(self) -> Any:
        with self.lock:
            if self.client is None:
                self.client = self.open()
            return self.client

    def open(self) -> Any:
        """Who waited for the lock meanwhile does not wait for the server too."""
        if time.monotonic() < self.down_until:
            raise tell_down(self.address)
        try:
            return open_client(self.address)
        except OperationalError:
            self.down_until = time.monotonic() + PAUSE
            raise

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What the client raises, as MinuteStoreError."""
        try:
            yield
        except ClickHouseError as error:
            raise describe(error, self.address) from None
        except (HTTPError, OSError, pa.ArrowInvalid):  # an answer that ends in the middle
            raise tell_down(self.address) from None

    def close(self) -> None:
        with self.lock:
            client, self.client = self.client, None
        if client is not None:
            client.close()


def open_client(address: Address) -> Any:
    """No sessions: one client may ask several questions at once."""
    if address.path:
        return open_engine(address)
    return clickhouse_connect.get_client(
        interface="https" if address.is_tls else "http",
        host=address.host,
        port=address.port,
        username=address.user,
        password=address.password,
        database=address.database,
        connect_timeout=CONNECT_SECONDS,
        send_receive_timeout=ANSWER_SECONDS,
        autogenerate_session_id=False,
        show_clickhouse_errors="scrub",
        client_name="market-data-service",
    )


def open_engine(address: Address) -> Any:
    """ClickHouse's engine in this process: its folder belongs to one process at a time."""
    with clickhouse_connect.get_client(interface="chdb", path=address.path) as client:
        client.command(f"CREATE DATABASE IF NOT EXISTS {address.database}")
    return clickhouse_connect.get_client(
        interface="chdb", path=address.path, database=address.database
    )


def describe(error: ClickHouseError, address: Address) -> MinuteStoreError:
    """What happened, and the remedy. No code: nothing came back from a server."""
    code = getattr(error, "code", None)
    text = find_reason(str(error))
    place = f"the minute store {address.shown}"
    if code is None:
        return tell_down(address)
    if code in BUSY:
        return StoreDown(f"{place} cannot answer now, {BUSY[code]}: try again")
    remedy = REMEDIES.get(code, "answers with an error: {error}")
    kind = MissingTable if code == UNKNOWN_TABLE else MinuteStoreError
    told = remedy.format(user=address.user, database=address.database, error=text)
    return kind(f"{place} {told}")


def tell_down(address: Address) -> StoreDown:
    return StoreDown(
        f"the minute store {address.shown} does not answer: start it, or correct MINUTE_STORE"
    )


def find_reason(text: str) -> str:
    """Of an error of the server what it says, without codes and without our query."""
    reason = text.partition("DB::Exception: ")[2] or text
    return reason.partition(" in scope ")[0].partition("\n")[0][:300].rstrip(". ")


def strip_zones(table: pa.Table) -> pa.Table:
    """Instants come with their zone, which is UTC; the store's tables have none."""
    fields = [
        pa.field(each.name, pa.timestamp("us") if pa.types.is_timestamp(each.type) else each.type)
        for each in table.schema
    ]
    return table.cast(pa.schema(fields))
