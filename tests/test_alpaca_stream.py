"""Alpaca's stream protocol: their own client, unmodified, and plain frames."""

import asyncio
import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from api.main import create_app
from api.protocols.alpaca import routes
from etl.contracts.minutes import MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from tests.minute_stores import at, bar, told
from tests.server import make_settings, serve_app, wait_until
from tests.test_stream_out import publish

AUTH = {"action": "auth", "key": "k", "secret": "s"}


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alpaca")


@pytest.fixture(scope="module")
def app(store_dir: Path) -> FastAPI:
    return create_app(make_settings(store_dir))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[httpx.Client]:
    with serve_app(app) as client:
        yield client


@pytest.fixture
def store(store_dir: Path) -> Iterator[MinuteStore]:
    store = open_place(Place(store_dir))
    yield store
    store.close()


def url_of(client: httpx.Client, path: str = "/v2/iex") -> str:
    return f"ws://127.0.0.1:{client.base_url.port}{path}"


def say(socket: ClientConnection, **what: Any) -> None:
    socket.send(json.dumps(what))


def hear(socket: ClientConnection) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(socket.recv(timeout=120))
    return found


@contextmanager
def connected(client: httpx.Client, path: str = "/v2/iex") -> Iterator[ClientConnection]:
    with connect(url_of(client, path), proxy=None) as socket:
        assert hear(socket) == [{"T": "success", "msg": "connected"}]
        yield socket


@contextmanager
def let_in(
    client: httpx.Client, path: str = "/v2/iex", **channels: Any
) -> Iterator[ClientConnection]:
    with connected(client, path) as socket:
        say(socket, **AUTH)
        assert hear(socket) == [{"T": "success", "msg": "authenticated"}]
        say(socket, action="subscribe", **channels)
        (subscription,) = hear(socket)
        assert subscription["T"] == "subscription"
        yield socket


@dataclass
class Sdk:
    """alpaca-py's stream in a thread of its own."""

    bars: list[Any] = field(default_factory=list)
    updated: list[Any] = field(default_factory=list)
    daily: list[Any] = field(default_factory=list)


@contextmanager
def run_sdk(client: httpx.Client, path: str, *symbols: str) -> Iterator[Sdk]:
    pytest.importorskip("alpaca", reason="alpaca-py is not installed: make engines")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from alpaca.data.live import StockDataStream

    heard = Sdk()
    stream = StockDataStream("k", "s", url_override=url_of(client, path))
    for subscribe, found in (
        (stream.subscribe_bars, heard.bars),
        (stream.subscribe_updated_bars, heard.updated),
        (stream.subscribe_daily_bars, heard.daily),
    ):
        subscribe(keep_in(found), *symbols)

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asyncio.run(stream._run_forever())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        asyncio.run(stream.stop_ws())
        thread.join(120)


def keep_in(found: list[Any]) -> Any:
    async def keep(bar: Any) -> None:
        found.append(bar)

    return keep


@pytest.mark.long
def test_their_client_receives_bars_corrections_and_daily_bars(
    app: FastAPI, client: httpx.Client, store: MinuteStore
) -> None:
    publish(store, bar("S1", at(-1), 10))
    with run_sdk(client, "/v2/iex", "S1") as heard:
        wait_until(lambda: has_listener(app, "S1"))
        publish(store, bar("S1", at(0), 11), bar("S2", at(0), 5))
        wait_until(lambda: len(heard.bars) == 1 and len(heard.daily) == 1)
        publish(store, bar("S1", at(0), 11.5, told(1)))
        wait_until(lambda: len(heard.updated) == 1 and len(heard.daily) == 2)
    (new,), (updated,) = heard.bars, heard.updated
    assert (new.symbol, new.close, new.volume, str(new.timestamp)) == (
        *("S1", 11.0, 100.0),
        "2024-03-07 14:30:00+00:00",
    )
    assert (updated.symbol, updated.close) == ("S1", 11.5)
    assert [str(each.timestamp) for each in heard.daily] == ["2024-03-07 05:00:00+00:00"] * 2
    assert [each.close for each in heard.daily] == [11.0, 11.5]


def has_listener(app: FastAPI, symbol: str) -> bool:
    return any(symbol in each.symbols for each in app.state.hub.listeners)


@pytest.mark.long
def test_a_replay_is_the_same_each_time(client: httpx.Client, store: MinuteStore) -> None:
    publish(store, *(bar("R1", at(n), 10 + n) for n in range(300)))
    publish(store, *(bar("R2", at(n), 20 + n) for n in range(300)))
    twice = []
    for _ in range(2):
        with run_sdk(client, "/v2/replay?start=2024-03-07", "R1", "R2") as heard:
            wait_until(lambda heard=heard: len(heard.bars) == 600)  # type: ignore[misc]
        twice.append([(each.symbol, each.timestamp, each.close) for each in heard.bars])
    assert twice[0] == twice[1]
    assert [symbol for symbol, *_ in twice[0][:4]] == ["R1", "R2", "R1", "R2"]


def test_frames_are_as_alpaca_sends_them(client: httpx.Client, store: MinuteStore) -> None:
    publish(store, bar("P", at(0), 10))
    with let_in(client, bars=["P"], updatedBars=["*"]) as socket:
        publish(store, bar("P", at(1), 11), bar("Q", at(1), 5))
        publish(store, bar("P", at(0), 10.5, told(1)))
        (new,), (updated,) = hear(socket), hear(socket)
    values = {"S": "P", "n": None, "vw": None, "v": 100}
    assert new == {
        **{"T": "b", **values, "t": "2024-03-07T14:31:00Z"},
        **{"o": 11.0, "h": 12.0, "l": 10.0, "c": 11.0},
    }
    assert (updated["T"], updated["c"], updated["t"]) == ("u", 10.5, "2024-03-07T14:30:00Z")


def test_a_subscription_grows_and_shrinks(client: httpx.Client, store: MinuteStore) -> None:
    with let_in(client, bars=["g1"]) as socket:
        say(socket, action="subscribe", bars=["G2"], trades=["AAPL"])
        (told_,) = hear(socket)
        assert (told_["bars"], told_["trades"]) == (["G1", "G2"], [])
        say(socket, action="unsubscribe", bars=["G1"])
        assert hear(socket)[0]["bars"] == ["G2"]
        publish(store, bar("G1", at(0), 1), bar("G2", at(0), 2))
        assert [each["S"] for each in hear(socket)] == ["G2"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{no", 400),
        ('{"action":"listen"}', 400),
        ('{"action":"subscribe","bars":"AAPL"}', 400),
        ('{"action":"subscribe","bars":[1]}', 400),
        ('{"action":"subscribe","trades":["AAPL"]}', 410),
        (json.dumps(AUTH), 403),
        ("[]", 400),
    ],
)
def test_what_cannot_be_done_is_an_error_with_alpacas_code(
    client: httpx.Client, said: str, code: int
) -> None:
    with let_in(client, bars=["AAPL"]) as socket:
        socket.send(said)
        ((error),) = hear(socket)
        assert (error["T"], error["code"]) == ("error", code)
        say(socket, action="subscribe", bars=["IBM"])
        assert hear(socket)[0]["bars"] == ["AAPL", "IBM"]  # it goes on


@pytest.mark.parametrize(("said", "code"), [('{"action":"subscribe"}', 401), ("{no", 400)])
def test_who_does_not_log_in_is_let_go(client: httpx.Client, said: str, code: int) -> None:
    with connected(client) as socket:
        socket.send(said)
        assert hear(socket)[0]["code"] == code
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=120)


def test_who_says_nothing_is_let_go(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "AUTH_SECONDS", 0.05)
    with connected(client) as socket:
        assert hear(socket) == [{"T": "error", "code": 404, "msg": "auth timeout"}]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v2/nosuchfeed", {}),
        ("/v2/iex", {"Host": "evil.example"}),
        ("/v2/iex", {"Origin": "http://evil.example"}),
    ],
)
def test_pages_of_other_sites_and_unknown_feeds_are_refused(
    client: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(url_of(client, path), additional_headers=headers, proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_elsewhere_there_is_no_websocket(client: httpx.Client) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(url_of(client, "/openapi.json"), proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 200
