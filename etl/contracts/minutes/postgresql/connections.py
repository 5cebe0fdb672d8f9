"""Connections for whoever reads: each question has one for itself, and hands it back."""

import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg.rows import TupleRow

from etl.contracts.minutes.postgresql.address import Address
from etl.contracts.minutes.postgresql.faults import translate

Connection = psycopg.Connection[TupleRow]
Answer = TypeVar("Answer")

KEPT = 8  # idle connections; each is a process of the server
# Questions are about one symbol: to look for workers or to compile takes longer than they do, and a
# plan for any range would lock the partitions of all months.
READING = {
    "default_transaction_read_only": "on",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "work_mem": "64MB",
}


def connect(address: Address, settings: dict[str, str]) -> Connection:
    """A connection on which each statement is a transaction. MinuteStoreError: refused."""
    try:
        connection = psycopg.connect(autocommit=True, **address.options)  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise translate(error, address) from None
    try:
        names, values = list(settings), list(settings.values())
        connection.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[])"
            " AS s (name, value)",
            (names, values),
        )
    except psycopg.Error as error:
        connection.close()
        raise translate(error, address) from None
    return connection


class Pool:
    """As many connections as there are questions at once; KEPT of them stay for the next ones.

    One that broke is replaced, with all that were idle, and its question asked once more: a server
    that was started anew fails none.
    """

    def __init__(self, address: Address, timeout: float | None = None) -> None:
        """timeout: seconds that a statement may take."""
        self.address = address
        milliseconds = {"statement_timeout": str(int(timeout * 1000))} if timeout else {}
        self.settings = {**READING, **milliseconds}
        self.idle: list[Connection] = []
        self.lock = threading.Lock()
        self.breaks = 0  # how often connections broke: the server was started anew

    def ask(self, question: Callable[[Connection], Answer]) -> Answer:
        """MinuteStoreError in the place of the client's own."""
        try:
            connection, is_kept = self.take()
            try:
                return self.answer(connection, question)
            except psycopg.Error:
                if not (is_kept and connection.closed):
                    raise
            self.breaks += 1
            self.close()  # they are of the server that went away too
            return self.answer(connect(self.address, self.settings), question)
        except psycopg.Error as error:
            raise translate(error, self.address) from None

    def answer(self, connection: Connection, question: Callable[[Connection], Answer]) -> Answer:
        try:
            answer = question(connection)
        except BaseException:
            connection.close()  # in whatever state it is
            raise
        self.keep(connection)
        return answer

    def take(self) -> tuple[Connection, bool]:
        with self.lock:
            if self.idle:
                return self.idle.pop(), True
        return connect(self.address, self.settings), False

    def keep(self, connection: Connection) -> None:
        with self.lock:
            if len(self.idle) < KEPT:
                self.idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self.lock:
            idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()
