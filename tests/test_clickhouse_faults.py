"""Minutes in ClickHouse: one clear message where a server is down, half there or not ours."""

import logging
import signal
import sys
from pathlib import Path

import pytest

from etl.contracts.minutes import MinuteStore, MinuteStoreError, StoreDown
from etl.contracts.minutes.engines import Place, open_place
from etl.settings import PROJECT_ROOT
from tests.clickhouse_server import USERS, ClickHouseServer, run_clickhouse, share_clickhouse
from tests.daemons import find_port
from tests.minute_stores import at, bar, batch, closes, load, told
from tests.server import HOST

pytest.importorskip("clickhouse_connect", reason="no client of ClickHouse: make engines")
pytest.importorskip("chdb", reason="ClickHouse's engine is not installed: make engines")

from etl.contracts.minutes.clickhouse import link
from etl.contracts.minutes.clickhouse.address import read_address

BATCH = batch(bar("A", at(0)), bar("B", at(1), 11.0))


@pytest.fixture(scope="module")
def server() -> ClickHouseServer:
    return share_clickhouse()


@pytest.fixture
def loaded(server: ClickHouseServer, tmp_path: Path) -> str:
    """A database in which bars are published."""
    store = server.open_store(tmp_path)
    load(store, BATCH)
    store.close()
    return str(store.link.address.database)  # type: ignore[attr-defined]


def open_url(url: str, password: str = "") -> MinuteStore:
    return open_place(Place(Path("no data"), url, password))


def refuse(store: MinuteStore, wanted: str, kind: type[MinuteStoreError] = MinuteStoreError) -> str:
    """What a reader and a writer are told: the same, with the place and without a password."""
    for ask in (store.newest, store.snapshot, lambda: store.upsert(BATCH, "run")):
        with pytest.raises(kind, match=wanted) as caught:
            ask()
        assert "minute store clickhouse://" in str(caught.value)
        assert not any(password and password in str(caught.value) for password, _ in USERS.values())
    store.close()
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "clickhouse://127.0.0.1:8123/one/two",
        "clickhouse://user:pass@127.0.0.1:8123/minutes?secure=1",
        "clickhouse:///minutes",
        "clickhouses://127.0.0.1/minutes#part",
        "clickhouse://127.0.0.1",
        "clickhouse://127.0.0.1:port/minutes",
    ],
)
def test_an_address_that_names_no_database_is_refused_with_one_that_does(url: str) -> None:
    with pytest.raises(MinuteStoreError, match="like clickhouse://user@host:8123/database"):
        open_url(url)


def test_an_address_has_the_usual_ports_and_shows_no_password() -> None:
    plain, tls = (
        read_address("clickhouse://h/m"),
        read_address("clickhouses://u:p%3Aw@[::1]/m", "x"),
    )
    assert (plain.port, plain.user, plain.is_tls, plain.password) == (8123, "default", False, "")
    assert (tls.port, tls.user, tls.is_tls, tls.password) == (8443, "u", True, "p:w")
    assert tls.shown == "clickhouses://u@[::1]:8443/m"
    assert "p:w" not in repr(tls)


@pytest.mark.parametrize(
    ("url", "package", "file"),
    [
        ("clickhouse://127.0.0.1/minutes", "clickhouse_connect", "requirements-clickhouse.txt"),
        ("chdb:///folder", "chdb", "requirements-engines.txt"),
    ],
)
def test_a_client_that_is_not_installed_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, file: str
) -> None:
    for name in [name for name in sys.modules if name.startswith(link.__package__)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MinuteStoreError, match=f"wants the package {package}: pip .* {file} -c"):
        open_url(url)
    assert (PROJECT_ROOT / file).exists()


def test_a_server_that_is_not_there_is_named() -> None:
    store = open_url(f"clickhouse://{HOST}:{find_port()}/minutes")
    refuse(store, r"/minutes does not answer: start it, or correct MINUTE_STORE$", StoreDown)


def test_a_database_that_is_not_there_is_named_with_what_makes_it(server: ClickHouseServer) -> None:
    store = open_url(server.name_url("nowhere"))
    refuse(store, r"has no database 'nowhere': create it \(CREATE DATABASE nowhere\)$")


@pytest.mark.parametrize(
    ("user", "password"), [("loader", ""), ("loader", "wr0ng"), ("nobody", "l0ader-pa55:word")]
)
def test_a_user_that_the_server_does_not_know_is_told_where_the_password_stands(
    server: ClickHouseServer, loaded: str, user: str, password: str
) -> None:
    store = open_url(server.name_url(loaded, user), password)
    said = refuse(store, f"refuses user '{user}': set MINUTE_STORE_PASSWORD")
    assert "wr0ng" not in said


def test_a_user_that_may_only_select_reads_all_and_is_told_that_it_cannot_write(
    server: ClickHouseServer, loaded: str
) -> None:
    store = open_url(server.name_url(loaded, "reader"), USERS["reader"][0])
    assert store.newest() == store.snapshot().generation != ""
    assert closes(store, "A") == closes(store, "A", as_of=told()) == [10.0]
    assert store.snapshot().last(["A", "B"], "1m")["close"].to_pylist() == [10.0, 11.0]
    with pytest.raises(MinuteStoreError, match=r"does not let user 'reader' do that: .* grants"):
        store.upsert(BATCH, "run")
    store.close()


def test_a_password_in_the_address_goes_before_the_one_beside_it(
    server: ClickHouseServer, loaded: str
) -> None:
    url = server.name_url(loaded, "loader:l0ader-pa55%3Aword")
    store = open_url(url, "another")
    assert closes(store, "A") == [10.0]
    store.close()


@pytest.mark.parametrize("table", ["generation", "bars_1m", "instruments"])
def test_a_table_of_somebody_else_is_left_alone(
    server: ClickHouseServer, tmp_path: Path, table: str
) -> None:
    store = server.open_store(tmp_path)
    database = store.link.address.database  # type: ignore[attr-defined]
    server.run(f"CREATE TABLE {table} (symbol String) ENGINE = MergeTree ORDER BY symbol", database)
    server.run(f"INSERT INTO {table} VALUES ('theirs')", database)
    for ask in (store.snapshot, lambda: store.upsert(BATCH, "run")):
        with pytest.raises(MinuteStoreError, match=r"give MINUTE_STORE a database of its own$"):
            ask()
    assert server.run(f"SELECT symbol FROM {table}", database) == "theirs"
    assert server.run("SHOW TABLES", database) == table
    store.close()


def test_a_store_without_one_of_its_tables_says_so(server: ClickHouseServer, loaded: str) -> None:
    store = open_url(server.name_url(loaded))
    server.run("DROP TABLE bars_1m", loaded)
    asks = (lambda: closes(store, "A"), lambda: store.upsert(BATCH, "run"), store.verify)
    for ask in asks:
        with pytest.raises(MinuteStoreError, match=r"there in part only .*bars_1m.* load anew$"):
            ask()
        store.discard()
    store.close()


def test_a_server_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "ANSWER_SECONDS", 1)
    with run_clickhouse(tmp_path) as server:
        store = server.open_store(tmp_path)
        load(store, BATCH)
        server.signal(signal.SIGSTOP)
        with pytest.raises(StoreDown, match="does not answer"):
            store.newest()
        server.signal(signal.SIGCONT)
        assert store.newest() == store.snapshot().generation
        store.close()


def test_verify_names_the_symbols_whose_rows_are_not_what_was_loaded(
    server: ClickHouseServer, tmp_path: Path
) -> None:
    store = server.open_store(tmp_path)
    load(store, batch(bar("A", at(0)), bar("B", at(0)), bar("B", at(days=365))))
    assert all(not wrong for _, wrong in store.verify())
    database = store.link.address.database  # type: ignore[attr-defined]
    server.run("ALTER TABLE bars_1m DROP PARTITION 2025", database)
    server.run("INSERT INTO bars_1m SELECT * REPLACE ('X' AS symbol) FROM bars_1m", database)
    wrong = dict(store.verify())
    assert [wrong.pop(name) for name in list(wrong) if wrong[name] == "X 1m"] == ["X 1m"]
    assert {found for found in wrong.values() if found} == {"B 1m"}
    store.close()


def test_no_line_of_the_log_has_the_password(
    server: ClickHouseServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    database = server.open_store(tmp_path).link.address.database  # type: ignore[attr-defined]
    store = open_url(server.name_url(database, "loader"), USERS["loader"][0])
    load(store, BATCH)
    assert closes(store, "A") == [10.0]
    store.close()
    for url in (server.name_url(database, "nobody"), f"clickhouse://{HOST}:{find_port()}/m"):
        with pytest.raises(MinuteStoreError):
            open_url(url, USERS["loader"][0]).newest()
    assert USERS["loader"][0] not in caplog.text
