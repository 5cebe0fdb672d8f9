"""Minutes in PostgreSQL: who may write, what is told of a server that is not as it should be."""

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed: make engines")

from etl.contracts.minutes import MinuteStore, MinuteStoreError, StoreDown
from etl.contracts.minutes.postgresql.store import PostgresStore
from tests.daemons import find_port
from tests.minute_stores import at, bar, batch, closes, load, told
from tests.postgres_server import (
    GUARDED,
    PostgresServer,
    name_database,
    open_store,
    run_postgres,
    shared_server,
)

SECRET = "Pa5s/w0rd+of@postgres"


@pytest.fixture(scope="module")
def server() -> PostgresServer:
    return shared_server()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """One that a test may stop."""
    with run_postgres() as running:
        yield running


@pytest.fixture
def address(server: PostgresServer) -> str:
    return server.create()


@pytest.fixture
def store(address: str) -> Iterator[PostgresStore]:
    opened = open_store(address)
    yield opened
    opened.close()


def tell(question: Callable[[], object], kind: type[Exception] = MinuteStoreError) -> str:
    with pytest.raises(kind) as raised:
        question()
    return str(raised.value)


# What is not as it should be → statements that make it so, and words of the message.
FOREIGN = "has a schema `minutes` that is not of this service: name another database"
BROKEN = {
    "a schema of another program": (
        ["CREATE SCHEMA minutes", "CREATE TABLE minutes.instruments (name text)"],
        FOREIGN,
    ),
    "a table of another program": (
        ["CREATE SCHEMA minutes", "CREATE TABLE minutes.generation (name text)"],
        "has tables of another version in the schema `minutes`: name another database",
    ),
}


@pytest.mark.parametrize(("statements", "words"), BROKEN.values(), ids=BROKEN)
def test_what_another_program_keeps_there_is_left_alone(
    server: PostgresServer, statements: list[str], words: str
) -> None:
    address = server.create(statements)
    store = open_store(address)
    assert words in tell(lambda: load(store, batch(bar("A", at(0)))))
    found = server.execute(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'minutes'",
        database=name_database(address),
    )
    assert found == [(1,)]
    store.close()


def test_tables_of_another_form_are_neither_read_nor_written(
    server: PostgresServer, address: str, store: PostgresStore
) -> None:
    load(store, batch(bar("A", at(0))))
    server.execute("UPDATE minutes.generation SET format = 99", database=name_database(address))
    for question in (store.newest, store.snapshot, lambda: load(store, batch(bar("A", at(1))))):
        assert "have form 99, this version reads 1" in tell(question)


def test_a_server_that_is_not_there_is_down_and_a_wrong_name_is_told(
    server: PostgresServer,
) -> None:
    there = server.address("postgres")
    for address, words, kind in (
        (f"postgresql://u@127.0.0.1:{find_port()}/x", "is PostgreSQL running there?", StoreDown),
        ("postgres://u@no-such-host.invalid:1/x", "is PostgreSQL running there?", StoreDown),
        (server.address("nix"), "has no such database: createdb nix", MinuteStoreError),
        (server.address("x", "nobody"), "has no such user: createuser nobody", MinuteStoreError),
        ("postgresql://u@127.0.0.1:port/x", "is no address: see MINUTE_STORE", MinuteStoreError),
        (f"{there}?sslmode=nonsense", "is no address: see MINUTE_STORE", MinuteStoreError),
        (f"{there}?sslmode=require", "disagree about TLS", MinuteStoreError),
    ):
        store = open_store(address)
        for question in (store.newest, lambda s=store: load(s, batch(bar("A", at(0))))):
            assert words in tell(question, kind)
        store.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:{secret}@127.0.0.1/x?nonsense=1",
        "postgresql://u@127.0.0.1/x?password={secret}&nonsense=1",
        "postgresql://u:{secret}%zz@127.0.0.1/x",
    ],
)
def test_an_address_that_is_none_is_told_without_its_password(url: str) -> None:
    message = tell(lambda: open_store(url.format(secret=SECRET.replace("@", "%40"))))
    assert "is no address of PostgreSQL: wanted postgresql://user@host:5432/database" in message
    assert "w0rd" not in message


def test_a_password_opens_the_store_and_stands_in_no_message(
    server: PostgresServer, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guarded = server.address(name_database(address), GUARDED)
    server.execute(f"ALTER ROLE {GUARDED} PASSWORD '{SECRET}'")
    quoted = SECRET.replace("@", "%40").replace("/", "%2F")
    for store in (
        open_store(guarded, SECRET),
        open_store(guarded.replace("@", f":{quoted}@")),
        open_store(f"{guarded}?password={quoted}"),
    ):
        assert store.newest() == ""
        store.close()
    messages = [
        tell(open_store(guarded, f"wrong {SECRET}").newest),
        tell(open_store(guarded).newest),
    ]
    assert "refuses the password: set MINUTE_STORE_PASSWORD" in messages[0]
    assert "wants a password: set MINUTE_STORE_PASSWORD" in messages[1]
    assert "w0rd" not in "".join([*messages, caplog.text])


def test_who_only_reads_needs_select_alone_and_is_told_what_to_grant(
    server: PostgresServer, address: str, store: PostgresStore
) -> None:
    load(store, batch(bar("A", at(0))))
    database = name_database(address)
    reader = open_store(server.address(database, "reader"))
    message = tell(reader.newest)
    for words in ("GRANT USAGE ON SCHEMA minutes TO reader", "GRANT SELECT ON ALL TABLES"):
        assert words in message
    server.execute(
        "GRANT USAGE ON SCHEMA minutes TO reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA minutes TO reader",
        database=database,
    )
    assert closes(reader, "A") == [10.0]
    load(store, batch(bar("A", at(days=40), 11.0), notes=[("A", at(days=40), "spike", "why")]))
    assert closes(reader, "A") == [10.0, 11.0]  # of a month that was not there
    assert reader.snapshot().notes("A", "1m", None, None).num_rows == 1
    assert "GRANT" in tell(lambda: load(reader, batch(bar("A", at(1)))))
    reader.close()


def test_a_second_writer_is_told_who_writes(address: str, store: PostgresStore) -> None:
    second = open_store(f"{address}?application_name=the%20other%20load")
    with second.writing():
        message = tell(lambda: load(store, batch(bar("A", at(0)))))
        assert message.startswith("the other load (backend ")
        assert message.endswith("now: wait till it ends")
        second.upsert(batch(bar("A", at(0))), "run")
        assert "the other load" in tell(lambda: store.upsert(batch(bar("A", at(0))), "run"))
    load(store, batch(bar("A", at(0))))
    second.close()
    first = open_store(address)
    first.upsert(batch(bar("A", at(1))), "run")
    assert "process" in tell(lambda: load(store, batch(bar("A", at(2)))))
    first.close()


def test_readers_wait_for_no_load(address: str, store: PostgresStore) -> None:
    """Not even for one that makes the partition of a new month."""
    load(store, batch(bar("A", at(0))))
    reader = open_store(address, timeout=20)
    with store.writing():
        store.upsert(batch(bar("A", at(days=40), 11.0), bar("A", at(0), 12.0, told(1))), "run")
        assert closes(reader, "A") == closes(reader, "A", as_of=told(2)) == [10.0]
        store.publish()
    assert closes(reader, "A") == [12.0, 11.0]
    reader.close()


def test_a_snapshot_gives_what_no_later_generation_changed_and_refuses_the_rest(
    store: PostgresStore,
) -> None:
    load(store, batch(bar("A", at(0)), bar("B", at(0)), exchanges={"A": "XNYS"}))
    old = store.snapshot()
    load(store, batch(bar("A", at(1)), bar("C", at(0))))
    assert old.bars("B", "1m")["close"].to_pylist() == [10.0]
    assert old.bars("C", "1m").num_rows == 0
    for question in (
        lambda: old.bars("A", "1m"),
        lambda: old.stored(["A", "B"], "1m", None, None),
        lambda: old.last(["B", "A"], "1m"),
        lambda: old.notes("A", "1m", None, None),
        lambda: old.revisions("A", "1m", None, None),
        lambda: old.spans("A", "1m"),
        lambda: old.spans("C", "1m"),
    ):
        assert "was changed by generation 2-" in tell(question, StoreDown)


def test_no_transaction_stays_open_between_questions(
    server: PostgresServer, address: str, store: PostgresStore
) -> None:
    load(store, batch(bar("A", at(0))))
    snapshot = store.snapshot()
    snapshot.bars("A", "1m")
    snapshot.notes("A", "1m", None, None)
    found = server.execute(
        f"SELECT DISTINCT state, backend_xmin FROM pg_stat_activity"
        f" WHERE datname = '{name_database(address)}'"
    )
    assert found == [("idle", None)]


def test_many_threads_read_at_once(store: PostgresStore) -> None:
    load(store, batch(*(bar("A", at(i), float(i)) for i in range(50))))
    snapshot, wrong = store.snapshot(), []

    def read(number: int) -> None:
        for i in range(20):
            start = at((number + i) % 50)
            if snapshot.bars("A", "1m", start)["close"][0].as_py() != (number + i) % 50:
                wrong.append((number, i))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 0 < len(store.pool.idle) <= 8


def test_a_question_that_takes_too_long_is_ended(address: str, store: PostgresStore) -> None:
    load(store, batch(bar("A", at(0))))
    reader = open_store(address, timeout=0.05)
    message = tell(lambda: reader.pool.ask(lambda c: c.execute(b"SELECT pg_sleep(60)")), StoreDown)
    assert "took longer than QUERY_TIMEOUT allows" in message
    assert closes(reader, "A") == [10.0]
    reader.close()


def test_a_server_that_starts_anew_costs_readers_nothing_and_a_load_all_it_brought(
    own_server: PostgresServer,
) -> None:
    address = own_server.create()
    store: MinuteStore = open_store(address)
    before = load(store, batch(bar("A", at(0))))
    snapshot = store.snapshot()
    snapshot.bars("A", "1m")
    own_server.restart()
    assert snapshot.bars("A", "1m")["close"].to_pylist() == [10.0]
    assert store.newest() == before
    with store.writing():
        store.upsert(batch(bar("A", at(1))), "run")
        own_server.restart()
        again = batch(bar("A", at(2)))
        tell(lambda: store.upsert(again, "run"), StoreDown)
        for question in (lambda: store.upsert(again, "run"), store.publish):
            assert "nothing of it is stored; load again" in tell(question, StoreDown)
    assert store.newest() == before
    load(store, again)
    assert closes(store, "A") == [10.0, 10.0]
    own_server.stop()
    assert "is PostgreSQL running there?" in tell(store.newest, StoreDown)
    assert "is PostgreSQL running there?" in tell(
        lambda: store.snapshot().bars("A", "1m"), StoreDown
    )
    own_server.start()
    assert closes(store, "A") == [10.0, 10.0]
    store.close()
