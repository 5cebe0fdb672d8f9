"""GET /stream: what is published is told once, in order, and can be gone on with."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.live import hub
from api.live.hub import Changed, Listener, Published
from etl.contracts.minutes import MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from tests.conftest import call_etl
from tests.minute_stores import at, bar, batch, load, session, told
from tests.server import serve, wait_until


@pytest.fixture(scope="module")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stream")


@pytest.fixture(scope="module")
def client(store_dir: Path) -> Iterator[httpx.Client]:
    with serve(store_dir) as client:
        yield client


@pytest.fixture
def store(store_dir: Path) -> Iterator[MinuteStore]:
    store = open_place(Place(store_dir))
    yield store
    store.close()


@dataclass
class Heard:
    """What a listener has received: (event, id, data)."""

    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    is_open: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)
    status: int = 0

    def wait(self, count: int) -> list[tuple[str, str, dict[str, Any]]]:
        wait_until(lambda: len(self.events) >= count)
        return self.events


@contextmanager
def listening(client: httpx.Client, url: str, **headers: str) -> Iterator[Heard]:
    heard = Heard()

    def listen() -> None:
        with (
            suppress(httpx.TransportError),
            httpx.Client(base_url=client.base_url, timeout=120) as own,
            own.stream("GET", url, headers=headers) as answer,
        ):
            heard.status = answer.status_code
            read_events(answer, heard)
        heard.is_over.set()
        heard.is_open.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert heard.is_open.wait(120)
    yield heard


def read_events(answer: httpx.Response, heard: Heard) -> None:
    event: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            heard.is_open.set()
        elif line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif "data" in event:
            heard.events.append((event["event"], event.get("id", ""), json.loads(event["data"])))
            event = {}


def publish(store: MinuteStore, *bars: dict[str, Any], is_live: bool = True) -> str:
    days = sorted({each["timestamp"].date() for each in bars})
    symbols = {each["symbol"]: "XNYS" for each in bars}
    made = batch(*bars, exchanges=symbols, sessions=[session("XNYS", day) for day in days])
    return load(store, replace(made, is_live=is_live))


def show(events: list[tuple[str, str, dict[str, Any]]]) -> list[tuple[Any, ...]]:
    return [(kind, data.get("symbol"), data.get("timestamp"), data.get("close"))
            for kind, _, data in events]  # fmt: skip


def find_ids(events: list[tuple[str, str, dict[str, Any]]]) -> list[tuple[int, ...]]:
    return [tuple(map(int, id_.split("-"))) for _, id_, _ in events]


def test_new_bars_and_corrections_are_told_as_they_are_published(
    client: httpx.Client, store: MinuteStore
) -> None:
    publish(store, bar("A1", at(0), 10))
    url = "/stream?symbols=a1,A2"
    with listening(client, url) as one, listening(client, url) as other:
        publish(store, bar("A1", at(1), 11), bar("A2", at(1), 21), bar("A3", at(1), 31))
        publish(store, bar("A1", at(0), 10.5, told(1)), bar("A1", at(1), 11, told(1)))
        one.wait(3)
        other.wait(3)
        publish(store, bar("A1", at(2), 12))
        wanted = [
            ("bar", "A1", "2024-03-07T14:31:00Z", 11.0),
            ("bar", "A2", "2024-03-07T14:31:00Z", 21.0),
            ("revised", "A1", "2024-03-07T14:30:00Z", 10.5),
            ("bar", "A1", "2024-03-07T14:32:00Z", 12.0),
        ]
        assert show(one.wait(4)) == show(other.wait(4)) == wanted
        assert find_ids(one.events) == sorted(set(find_ids(one.events)))
        assert one.events == other.events
        assert one.events[0][2] == {
            **{"kind": "bar", "symbol": "A1", "interval": "1m", "synthetic": False},
            **{"timestamp": "2024-03-07T14:31:00Z", "volume": 100},
            **{"open": 11.0, "high": 12.0, "low": 10.0, "close": 11.0},
        }


def test_who_comes_back_misses_nothing_and_hears_nothing_twice(
    client: httpx.Client, store: MinuteStore
) -> None:
    publish(store, bar("B", at(0), 10))
    with listening(client, "/stream?symbols=B") as heard:
        publish(store, *(bar("B", at(n), 10 + n) for n in range(1, 4)))
        first, *_ = heard.wait(3)
    publish(store, bar("B", at(4), 14))
    publish(store, bar("B", at(1), 11.5, told(1)))
    for headers, query in (({"Last-Event-ID": first[1]}, ""), ({}, f"&last_event_id={first[1]}")):
        with listening(client, f"/stream?symbols=B{query}", **headers) as again:
            again.wait(4)
            publish(store, bar("B", at(5 + bool(query)), 15))
            assert [data["close"] for _, _, data in again.wait(5)[:4]] == [12, 13, 14, 11.5]
            assert [kind for kind, _, _ in again.events][3:5] == ["revised", "bar"]
            assert len(set(find_ids(again.events))) == len(again.events)


def test_a_position_that_is_kept_no_more_is_told(
    client: httpx.Client, store: MinuteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, bar("C", at(0), 10))
    snapshot = type(store.snapshot())
    kept_from = int(store.newest().partition("-")[0])
    monkeypatch.setattr(snapshot, "changes_kept_from", property(lambda _: kept_from))
    with listening(client, "/stream?symbols=C", **{"Last-Event-ID": "0-5"}) as heard:
        ((kind, id_, data),) = heard.wait(1)
        assert (kind, id_) == ("resync", f"{kept_from}-0")
        assert "anew" in data["detail"]
        publish(store, bar("C", at(1), 11))
        assert show(heard.wait(2))[1][3] == 11


def test_longer_bars_grow_with_the_bars_they_are_made_of(
    client: httpx.Client, store: MinuteStore
) -> None:
    publish(store, bar("D", at(0), 10))
    with listening(client, "/stream?symbols=D&interval=5min") as heard:
        publish(store, bar("D", at(1), 14), bar("D", at(2), 9))
        heard.wait(1)  # as it is before the next bar comes
        publish(store, bar("D", at(5), 11))
        heard.wait(2)
    (kind, _, data), (_, _, following) = heard.events
    assert kind == "bar"
    assert (data["timestamp"], data["interval"]) == ("2024-03-07T14:30:00Z", "5m")
    assert [data[name] for name in ("open", "high", "low", "close", "volume", "complete")] == [
        *(10.0, 15.0, 8.0, 9.0, 300, False)
    ]
    assert (following["timestamp"], following["close"]) == ("2024-03-07T14:35:00Z", 11.0)


def test_todays_daily_bar_is_provisional_and_of_regular_hours(
    client: httpx.Client, store: MinuteStore
) -> None:
    publish(store, bar("E", at(-90), 50), bar("E", at(0), 10))
    with listening(client, "/stream?symbols=E&interval=1d") as heard:
        publish(store, bar("E", at(389), 12), bar("E", at(400), 99))
        ((kind, _, data),) = heard.wait(1)
    assert (kind, data["timestamp"], data["interval"]) == ("provisional", "2024-03-07", "1d")
    assert [data[name] for name in ("open", "high", "low", "close")] == [10.0, 13.0, 9.0, 12.0]


def test_a_load_is_told_as_a_new_generation(
    client: httpx.Client, store: MinuteStore, store_dir: Path
) -> None:
    publish(store, bar("F", at(0), 10))
    with listening(client, "/stream?symbols=F") as heard:
        generation = publish(store, bar("F", at(1), 11), is_live=False)
        ((kind, _, data),) = heard.wait(1)
        assert (kind, data) == (
            "generation",
            {"kind": "generation", "store": "minutes", "generation": generation},
        )
        call_etl(store_dir)
        *_, (_, _, data) = heard.wait(2)
        assert data["store"] == "daily"


def publish_notes(store: MinuteStore, symbol: str, count: int) -> None:
    bars = [bar(symbol, at(n), 10 + n) for n in range(count)]
    notes = [(symbol, each["timestamp"], "large_move", "x") for each in bars]
    spans = [(symbol, at(0), at(count), "alpaca", told())]
    load(
        store,
        batch(
            *bars,
            notes=notes,
            spans=spans,
            exchanges={symbol: "XNYS"},
            sessions=[session("XNYS", at(0).date())],
        ),
    )


def test_a_load_tells_its_new_notes_of_symbols_listened_to_up_to_a_bound(
    client: httpx.Client, store: MinuteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.live.notes.MOST", 3)
    publish_notes(store, "N1", 2)
    with listening(client, "/stream?symbols=N1&interval=5m") as heard:
        publish_notes(store, "N2", 2)
        heard.wait(1)
        publish_notes(store, "N1", 9)
        kinds = [kind for kind, _, _ in heard.wait(6)]
    assert kinds == ["generation", "generation", *["note"] * 4]
    notes = [data for _, _, data in heard.events[2:]]
    assert notes[0] == {
        **{"kind": "note", "symbol": "N1", "interval": "1m", "timestamp": "2024-03-07T14:32:00Z"},
        **{"reason": "large_move", "detail": "x"},
    }
    assert notes[-1]["more"] == 4


def test_a_load_is_told_beside_live_bars_that_came_with_it(
    client: httpx.Client, store: MinuteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, bar("G", at(0), 10))
    with listening(client, "/stream?symbols=G") as heard:
        look = hub.Hub.look_once
        monkeypatch.setattr(hub.Hub, "look_once", look_at_nothing)
        publish(store, bar("G", at(1), 11), is_live=False)
        publish(store, bar("G", at(2), 12))
        monkeypatch.setattr(hub.Hub, "look_once", look)
        assert sorted(kind for kind, _, _ in heard.wait(2)) == ["bar", "generation"]


async def look_at_nothing(self: hub.Hub) -> None:
    """A look that comes late."""


@pytest.mark.parametrize("position", ["3", "a-b", "-1-0", "1-2-3", "1" * 30 + "-1"])
def test_a_position_that_is_none_is_refused(client: httpx.Client, position: str) -> None:
    answer = client.get("/stream", headers={"Last-Event-ID": position})
    assert answer.status_code == 422
    assert "Last-Event-ID" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["interval=1wk", "interval=7m", "symbol=IBM", "limit=3"])
def test_what_cannot_be_streamed_is_refused(client: httpx.Client, query: str) -> None:
    assert client.get(f"/stream?{query}").status_code == 422


def test_a_caller_has_so_many_streams_and_room_again_when_one_ends(store_dir: Path) -> None:
    with serve(store_dir, STREAMS_PER_CALLER="1") as client, listening(client, "/stream"):
        answer = client.get("/stream")
        assert answer.status_code == 429
        assert "STREAMS_PER_CALLER" in answer.json()["detail"]
    # the service has ended, though somebody listened


def test_who_is_too_slow_is_let_go_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MOST_WAITING", 3)
    slow, quick = Listener(frozenset({"A"})), Listener(frozenset({"B"}))
    rows = [{"symbol": "A"}, {"symbol": "B"}]
    for _ in range(5):
        for listener in (slow, quick):
            listener.put(Changed(None, rows))  # type: ignore[arg-type]
        quick.waiting = 0
    assert (slow.is_slow, quick.is_slow) == (True, False)
    slow.put(Published("daily", "1-a"))
    assert (len(slow.queue), len(quick.queue)) == (0, 5)
