"""A request that was answered from the cache is answered alike when it comes again, unread."""

import os
import socket
from pathlib import Path
from shutil import copytree

import pytest
from starlette.types import Scope

from api.callers import users
from api.edge.answers import AnswerCache
from api.edge.ready import MOST_KNOWN
from api.edge.request_ids import Sent
from api.edge.route_table import RouteFacts
from api.main import create_app
from tests.guarded import READER, guard, hash_once
from tests.lines import Line, compare, dial
from tests.server import HOST, PATIENCE, make_settings, wait_until

PATH = b"/instruments/AAPL/ohlcv?start=2012-01-03&end=2012-01-31&limit=99"
GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n" % PATH


@pytest.fixture
def data_dir(sample_dir: Path, tmp_path: Path) -> Path:
    return Path(copytree(sample_dir, tmp_path / "data"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the requests that came as far as the answer cache."""
    seen: list[str] = []
    call = AnswerCache.__call__

    async def note(self, scope, receive, send):  # type: ignore[no-untyped-def]
        seen.extend([scope["method"]] if scope["type"] == "http" else [])
        await call(self, scope, receive, send)

    monkeypatch.setattr(AnswerCache, "__call__", note)
    return seen


def test_what_was_a_hit_is_answered_again_without_asking_the_layers(
    data_dir: Path, asked: list[str]
) -> None:
    with dial(create_app(make_settings(data_dir))) as line:
        answers = [line.ask(GET + b"\r\n") for _ in range(5)]
        assert len(asked) == 2  # made, and looked up
        assert [each[1][b"x-cache"] for each in answers] == [b"MISS", *4 * [b"HIT"]]
        assert all(list(each[1]) == list(answers[1][1]) for each in answers)
        assert all(compare(each) == compare(answers[0]) for each in answers)
        assert len({each[1][b"x-request-id"] for each in answers}) == 5
        other = line.ask(GET + b"Accept: text/csv\r\n\r\n")
    assert other[1][b"content-type"].startswith(b"text/csv")


@pytest.mark.parametrize(
    "request_",
    [
        GET + b"Range: bytes=0-9\r\n\r\n",
        GET + b'If-None-Match: "other"\r\n\r\n',
        GET + b"If-Match: *\r\n\r\n",
        GET + b"X-Request-ID: of-a-client\r\n\r\n",
        GET + b"Content-Length: 0\r\n\r\n",
        GET + b"Upgrade: h2c\r\n\r\n",
        GET.replace(b"GET", b"HEAD") + b"\r\n",
        GET.replace(PATH, b"/health") + b"\r\n",
        GET.replace(PATH, b"/instruments/NONE/ohlcv") + b"\r\n",
        GET + b"X-Long: %b\r\n\r\n" % (b"x" * 3000),
    ],
)
def test_what_depends_on_more_is_read_each_time(
    data_dir: Path, asked: list[str], request_: bytes
) -> None:
    with dial(create_app(make_settings(data_dir))) as line:
        line.ask(GET + b"\r\n")
        answers = [line.ask(request_) for _ in range(4)]
    assert len(asked) == 5
    assert answers[1][0] == answers[3][0]


def test_a_body_that_looks_like_a_known_request_is_none(data_dir: Path, asked: list[str]) -> None:
    known = GET + b"\r\n"
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (PATH, len(known))
    with dial(create_app(make_settings(data_dir))) as line:
        for _ in range(3):
            line.ask(known)
        assert line.ask(head)[0] == b"405"  # while the body is still to come
        line.connection.sendall(known)
        assert line.ask(known.replace(b"AAPL", b"MSFT"))[2].startswith(b'{"symbol":"MSFT"')


def test_known_requests_that_come_together_are_answered_in_order(data_dir: Path) -> None:
    with dial(create_app(make_settings(data_dir))) as line:
        both = GET + b"\r\n", GET.replace(b"AAPL", b"MSFT") + b"\r\n"
        for request in both * 3:
            line.ask(request)
        line.connection.sendall(b"".join(both * 2))
        bodies = [line.read()[2][:16] for _ in range(4)]
    assert bodies == [b'{"symbol":"AAPL"', b'{"symbol":"MSFT"'] * 2


def test_after_a_publication_the_layers_are_asked_again(data_dir: Path, asked: list[str]) -> None:
    with dial(create_app(make_settings(data_dir))) as line:
        for _ in range(3):
            line.ask(GET + b"\r\n")
        os.utime(data_dir / "market_data.duckdb")
        again = [line.ask(GET + b"\r\n") for _ in range(3)]
    assert len(asked) == 3
    assert [each[1][b"x-cache"] for each in again] == [b"HIT"] * 3


def test_what_is_no_longer_kept_is_made_again(data_dir: Path, asked: list[str]) -> None:
    app = create_app(make_settings(data_dir))
    with dial(app) as line:
        for _ in range(3):
            line.ask(GET + b"\r\n")
        for key in app.state.cache.memory.list_keys():
            app.state.cache.memory.drop(key)
        assert line.ask(GET + b"\r\n")[1][b"x-cache"] == b"MISS"
    assert len(asked) == 3


def test_no_more_requests_are_known_than_there_is_room_for(data_dir: Path) -> None:
    app = create_app(make_settings(data_dir))
    with dial(app) as line:
        for number in range(MOST_KNOWN + 2):
            for _ in range(1 if number else 2):
                line.ask(GET + b"X-Number: %d\r\n\r\n" % number)
        ready = app.layers.answers.ready
        assert ready is not None
        assert len(ready.known) == 2


def test_each_is_counted_and_told_of_as_any_other(data_dir: Path, asked: list[str]) -> None:
    app = create_app(make_settings(data_dir, METRICS="on"))
    seen = []

    class Recorder:
        def note(self, scope: Scope, facts: RouteFacts, sent: Sent, seconds: float) -> None:
            state = scope["state"]
            told = state["request_id"], state["way"], scope["client"][0], seconds < PATIENCE
            same = facts.template, sent.status, sent.size, scope["method"], scope["raw_path"]
            seen.append((told, same, scope["query_string"], state["head"]))

    app.layers.outermost.observers.append(Recorder())
    with dial(app) as line:
        answers = [line.ask(GET + b"\r\n") for _ in range(5)]
    assert len(asked) == 2
    names = [each[1][b"x-request-id"] for each in answers]
    assert [each[0] for each in seen[1:]] == [(name, "hit", HOST, True) for name in names[1:]]
    assert [each[1:] for each in seen] == [seen[0][1:]] * 5
    rows = {key[-1]: row[0] for key, row in app.state.counts.read().items() if "GET" in key}
    assert rows == {"miss": 1, "hit": 4}


def test_each_takes_its_part_of_the_limit_and_the_next_is_refused(
    data_dir: Path, asked: list[str]
) -> None:
    with dial(create_app(make_settings(data_dir, RATE_LIMIT="5/hour"))) as line:
        answers = [line.ask(GET + b"\r\n") for _ in range(7)]
    assert [each[0] for each in answers] == [b"200"] * 5 + [b"429"] * 2
    left = [each[1][b"ratelimit"].split(b";")[1] for each in answers]
    assert left == [b"r=4", b"r=3", b"r=2", b"r=1", b"r=0", b"r=0", b"r=0"]
    assert list(answers[4][1]) == list(answers[1][1])
    assert len(asked) == 2


def test_who_asks_is_asked_each_time(data_dir: Path, tmp_path: Path, asked: list[str]) -> None:
    with guard(data_dir, tmp_path) as guarded:
        request = (
            GET + b"Authorization: Bearer %b\r\n\r\n" % guarded.sign_in()["access_token"].encode()
        )
        address = HOST, guarded.client.base_url.port or 0
        asked.clear()
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            line = Line(connection)
            answers = [line.ask(request) for _ in range(5)]
            assert [each[0] for each in answers] == [b"200"] * 5
            assert all(list(each[1]) == list(answers[1][1]) for each in answers)
            assert len(asked) == 2
            users.put_user(guarded.path, READER, hash_once(), [])  # may read no more
            wait_until(lambda: line.ask(request)[0] != b"200")
            assert line.ask(GET + b"\r\n")[0] == b"401"


def test_below_the_prefix_of_a_proxy_the_answer_is_as_ready(
    data_dir: Path, asked: list[str]
) -> None:
    request = GET.replace(b"limit=99", b"limit=1") + b"X-Forwarded-Prefix: /bars\r\n\r\n"
    with dial(create_app(make_settings(data_dir, TRUSTED_PROXIES="127.0.0.1"))) as line:
        answers = [line.ask(request) for _ in range(5)]
    assert len(asked) == 2
    assert all(compare(each) == compare(answers[0]) for each in answers)
    assert [each[0] for each in answers] == [b"200"] * 5


def test_where_an_answer_depends_on_its_origin_every_request_is_read(data_dir: Path) -> None:
    app = create_app(make_settings(data_dir, CORS_ORIGINS="http://localhost:3000"))
    assert app.layers.answers.ready is None
