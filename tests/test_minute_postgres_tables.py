"""Tables of PostgreSQL that were changed by hand, and that TimescaleDB keeps."""

from collections.abc import Iterator

import pytest

pytest.importorskip("psycopg", reason="psycopg is not installed: make engines")

from etl.contracts.minutes import MinuteStoreError
from etl.contracts.minutes.postgresql.store import PostgresStore
from tests.minute_stores import at, bar, batch, closes, load, told
from tests.postgres_server import PostgresServer, name_database, open_store, shared_server


@pytest.fixture(scope="module")
def server() -> PostgresServer:
    return shared_server()


@pytest.fixture
def address(server: PostgresServer) -> str:
    return server.create()


@pytest.fixture
def store(address: str) -> Iterator[PostgresStore]:
    opened = open_store(address)
    yield opened
    opened.close()


# What is done to the tables by hand → what then does not hold.
TAMPERED = {
    "UPDATE minutes.bars_1m SET close = close + 1 WHERE symbol = 'A'": "the digest of each",
    "UPDATE minutes.bars_1m SET timestamp = timestamp + INTERVAL '1 s'": "each bar is at a step",
    "UPDATE minutes.bars_1m SET seen_at = '2000-01-01'": "each bar is at a step",
    "UPDATE minutes.bars_1m SET symbol = 'Z' WHERE symbol = 'B'": "each symbol has as many bars",
    "INSERT INTO minutes.bars_1m SELECT timestamp, open, high, low, close, volume, known_at,"
    " volume_decimals, 'Z', source, seen_at FROM minutes.bars_1m LIMIT 1": "each bar is of a",
    "UPDATE minutes.revisions_1m SET known_until = '2024-03-08 02:30'": "revisions follow each",
    "DELETE FROM minutes.revisions_1m": "the version of each symbol",
    "DELETE FROM minutes.notes_1m": "the version of each symbol",
    "DELETE FROM minutes.spans_1m": "the version of each symbol",
    "UPDATE minutes.instruments SET bars = bars + 1": "each bar is of a symbol",
}


@pytest.mark.parametrize(("statement", "what"), TAMPERED.items())
def test_what_was_changed_by_hand_does_not_verify(
    server: PostgresServer, address: str, store: PostgresStore, statement: str, what: str
) -> None:
    notes, spans = [("A", at(0), "spike", "")], [("A", at(0), at(9), "alpaca", told())]
    load(store, batch(bar("A", at(0)), bar("B", at(0)), notes=notes, spans=spans))
    load(store, batch(bar("A", at(0), 11.0, told(1)), notes=notes))
    assert [fault for _, fault in store.verify() if fault] == []
    server.execute(statement, database=name_database(address))
    assert any(said.startswith(what) and fault for said, fault in store.verify())


def test_bars_without_their_generation_are_no_empty_store(
    server: PostgresServer, address: str, store: PostgresStore
) -> None:
    load(store, batch(bar("A", at(0))))
    server.execute("DROP TABLE minutes.generation", database=name_database(address))
    for ask in (store.newest, store.verify):
        with pytest.raises(MinuteStoreError, match="restore a backup, or drop the schema"):
            ask()


def test_timescale_keeps_the_same_bars_in_compressed_chunks(server: PostgresServer) -> None:
    import psycopg

    address = server.create()
    try:
        server.execute("CREATE EXTENSION timescaledb", database=name_database(address))
    except psycopg.Error as error:
        pytest.skip(f"timescaledb is not installed ({str(error).splitlines()[0]})")
    store = open_store(address)
    load(store, batch(*(bar("A", at(i), float(i)) for i in range(90))))
    before = store.snapshot().stored(["A"], "1m", None, None)
    server.execute(
        "SELECT compress_chunk(c) FROM show_chunks('minutes.bars_1m') c",
        "CALL refresh_continuous_aggregate('minutes.hours_1m', NULL, NULL)",
        database=name_database(address),
    )
    assert store.snapshot().stored(["A"], "1m", None, None).equals(before)
    load(store, batch(bar("A", at(5), 99.0, told(1))))
    assert closes(store, "A")[4:7] == [4.0, 99.0, 6.0]
    hours = server.execute(
        "SELECT close, volume FROM minutes.hours_1m ORDER BY 1", database=name_database(address)
    )
    assert hours == [(29.0, 3000), (89.0, 6000)]
    assert [fault for _, fault in store.verify() if fault] == []
    store.close()
