"""A new range of a symbol whose text is ready is cut out of it before its request is parsed: with
the bytes, the headers and the rights of the way through all layers."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from api.callers import users
from api.edge import ready_ranges
from api.edge.answers import AnswerCache
from api.main import Service, create_app
from tests.guarded import READER, guard, hash_once
from tests.lines import Answer, Line, compare, dial
from tests.server import HOST, PATIENCE, make_settings, wait_until

HOST_LINE = b"Host: localhost\r\n"
RANGES = [
    b"start=2012-01-03&end=2012-01-31",
    b"start=2012-01-01&end=2012-01-01",  # no bar, and a day that has none
    b"start=2012-01-03&end=2012-01-03",
    b"end=2000-03-14",
    b"start=2012-12-01",
    b"start=1990-01-01&end=1999-12-31",
    b"end=0001-01-01",
    b"start=9999-12-31",
]


def write(query: bytes, symbol: bytes = b"AAPL", more: bytes = b"") -> bytes:
    path = b"/instruments/%b/ohlcv" % symbol
    return b"GET %b?%b HTTP/1.1\r\n%b%b\r\n" % (path, query, HOST_LINE, more)


@pytest.fixture
def data_dir(sample_dir: Path, tmp_path: Path) -> Path:
    return Path(copytree(sample_dir, tmp_path / "data"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The queries that came as far as the answer cache."""
    seen: list[bytes] = []
    call = AnswerCache.__call__

    async def note(self: AnswerCache, scope: Any, receive: Any, send: Any) -> None:
        seen.extend([scope["query_string"]] if scope["type"] == "http" else [])
        await call(self, scope, receive, send)

    monkeypatch.setattr(AnswerCache, "__call__", note)
    return seen


def prepare(app: Service, line: Line, more: bytes = b"", symbol: str = "AAPL") -> None:
    """Have the text of a symbol made, which much use would do, and the head of `line` known."""
    series_cache = app.state.series_cache
    line.ask(write(b"start=2012-01-03&end=2012-01-04", symbol.encode(), more))
    held = series_cache.find(app.state.database.newest(), symbol)
    held.encoded = 4 * len(held.series)
    line.ask(write(b"start=2012-01-03&end=2012-01-05", symbol.encode(), more))
    wait_until(lambda: series_cache.find_rows(held) is not None)


@contextmanager
def dial_prepared(data_dir: Path, more: bytes = b"", **settings: object) -> Iterator[Line]:
    app = create_app(make_settings(data_dir, **settings))
    with dial(app) as line:
        prepare(app, line, more)
        line.app = app  # type: ignore[attr-defined]
        yield line


def ask_twice(line: Line, request: bytes) -> list[Answer]:
    return [line.ask(request) for _ in range(2)]


def test_ranges_are_answered_as_by_the_layers_and_without_them(
    data_dir: Path, asked: list[bytes]
) -> None:
    layered = create_app(make_settings(data_dir))
    layered.layers.answers.ready = None
    with dial(layered) as other, dial_prepared(data_dir) as line:
        asked.clear()
        quick = [line.ask(write(query)) for query in RANGES for _ in range(3)]
        assert asked == []
        slow = [other.ask(write(query)) for query in RANGES for _ in range(3)]
    assert len(asked) == len(slow)
    assert [compare(each) for each in quick] == [compare(each) for each in slow]
    assert [list(each[1]) for each in quick] == [list(each[1]) for each in slow]
    assert [each[1][b"x-cache"] for each in quick] == [b"MISS", b"HIT", b"HIT"] * len(RANGES)
    assert len({each[1][b"x-request-id"] for each in quick}) == len(quick)


def test_what_was_cut_is_what_the_layers_find(data_dir: Path, asked: list[bytes]) -> None:
    with dial_prepared(data_dir) as line:
        asked.clear()
        cut = line.ask(write(RANGES[0]))
        found = line.ask(write(RANGES[0].replace(b"-03", b"%2D03"), symbol=b"aapl"))
    assert len(asked) == 1
    assert found[1][b"x-cache"] == b"HIT"
    assert compare(found) == compare(cut)


@pytest.mark.parametrize(
    "request_",
    [
        write(b"start=2012-02-30"),
        write(b"start=2012-01-31&end=2012-01-03"),
        write(b"end=2012-01-31&start=2012-01-03"),
        write(b"start=2012-01-03&limit=5"),
        write(b"start=2012-01-03", symbol=b"aapl"),
        write(b"start=2012-01-03", symbol=b"NONE"),
        write(b"start=2012-01-03", symbol=b"MSFT"),  # its text is not ready
        write(b""),  # too long for one piece
        write(RANGES[0], more=b"Accept: text/csv\r\n"),
        write(RANGES[0], more=b"If-None-Match: *\r\n"),
        write(RANGES[0], more=b"Range: bytes=0-9\r\n"),
        write(RANGES[0], more=b"Content-Length: 0\r\n"),
        write(RANGES[0]).replace(HOST_LINE, b"Host: elsewhere.example\r\n"),
        write(RANGES[0]).replace(b"GET", b"HEAD"),
    ],
)
def test_all_else_is_left_to_the_layers(
    data_dir: Path, asked: list[bytes], request_: bytes
) -> None:
    is_refused = b"elsewhere" in request_  # by the gate, before the answer cache
    with dial_prepared(data_dir) as line:
        asked.clear()
        status = line.ask(request_)[0]
    assert len(asked) == (0 if is_refused else 1)
    assert (status == b"421") == is_refused


def test_each_range_takes_its_part_of_the_limit_and_one_refused_is_not_made(
    data_dir: Path, asked: list[bytes]
) -> None:
    with dial_prepared(data_dir, RATE_LIMIT="5/hour") as line:
        asked.clear()
        answers = [line.ask(write(query)) for query in RANGES[:5]]
        kept = line.app.state.cache.memory.answers  # type: ignore[attr-defined]
    assert [each[0] for each in answers] == [b"200"] * 3 + [b"429"] * 2
    left = [each[1][b"ratelimit"].split(b";")[1] for each in answers]
    assert left == [b"r=2", b"r=1", b"r=0", b"r=0", b"r=0"]
    assert kept == 2 + 3
    assert asked == []


def test_each_range_is_counted_and_told_of(data_dir: Path, asked: list[bytes]) -> None:
    with dial_prepared(data_dir, METRICS="on") as line:
        asked.clear()
        answers = [line.ask(write(query)) for query in (*RANGES[:3], *RANGES[:1] * 2)]
        rows = line.app.state.counts.read()  # type: ignore[attr-defined]
    assert asked == []
    assert {key[-1]: row[0] for key, row in rows.items() if "GET" in key} == {
        "shortcut": 2 + 3,
        "hit": 2,
    }
    assert all("/instruments/{symbol}/ohlcv" in key for key in rows if "GET" in key)
    assert sum(row[2] for key, row in rows.items() if "GET" in key) > sum(
        len(each[2]) for each in answers
    )


def test_who_may_read_no_more_gets_no_range(
    data_dir: Path, tmp_path: Path, asked: list[bytes]
) -> None:
    with guard(data_dir, tmp_path) as guarded:
        token = guarded.sign_in()["access_token"].encode()
        more = b"Authorization: Bearer %b\r\n" % token
        address = HOST, guarded.client.base_url.port or 0
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            line = Line(connection)
            prepare(guarded.app, line, more)
            asked.clear()
            assert line.ask(write(RANGES[0], more=more))[0] == b"200"
            assert line.ask(write(RANGES[2]))[0] == b"401"
            users.put_user(guarded.path, READER, hash_once(), [])
            days = iter(range(1, 29))
            query = b"start=2012-02-%02d&end=2012-03-31"
            wait_until(lambda: line.ask(write(query % next(days, 28), more=more))[0] != b"200")
    assert asked == []


def test_after_a_publication_ranges_are_of_the_new_generation(
    data_dir: Path, asked: list[bytes]
) -> None:
    with dial_prepared(data_dir) as line:
        before = line.ask(write(RANGES[0]))
        os.utime(data_dir / "market_data.duckdb")
        asked.clear()
        after = ask_twice(line, write(RANGES[0]))
        (data_dir / "market_data.duckdb").unlink()
        gone = line.ask(write(RANGES[3]))
    assert asked == []
    assert [compare(each) for each in (before, *after)] == [compare(before)] * 3
    assert gone[0] == b"200"  # of the version that was opened last


def test_what_comes_with_another_request_is_read(data_dir: Path) -> None:
    with dial_prepared(data_dir) as line:
        both = write(RANGES[0]) + write(RANGES[2])
        line.connection.sendall(both * 2)
        counts = [line.read()[2].partition(b'"count":')[2][:2] for _ in range(4)]
    assert counts == [b"20", b"1,"] * 2


@pytest.mark.parametrize(
    ("root", "is_known"), [("/bars", True), ("/instruments", False), ("/instruments/AAPL", False)]
)
def test_below_a_prefix_that_paths_may_begin_with_nothing_is_taken_for_known(
    data_dir: Path, root: str, is_known: bool
) -> None:
    app = create_app(make_settings(data_dir, ROOT_PATH=root))
    with dial(app) as line:
        line.ask(write(RANGES[0]).replace(b"/instr", root.encode() + b"/instr"))
        line.ask(write(RANGES[0]))
    ready = app.layers.answers.ready
    assert ready is not None
    assert bool(ready.ranges.heads) == is_known


def test_no_more_heads_are_known_than_there_is_room_for(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready_ranges, "MOST_HEADS", 4)
    app = create_app(make_settings(data_dir))
    with dial(app) as line:
        for number in range(6):
            line.ask(write(RANGES[0], more=b"X-Number: %d\r\n" % number))
    ready = app.layers.answers.ready
    assert ready is not None
    assert len(ready.ranges.heads) == 2
