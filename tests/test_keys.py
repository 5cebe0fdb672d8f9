"""Keys of answers: one for all ways of writing a request, and never one for two answers."""

import asyncio
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from pydantic import BaseModel

from api.bars.series import FIELDS
from api.edge.keys import Asked, Forms, build_etag, build_key, canonical
from api.edge.targets import MOST_KNOWN, read_forms
from api.main import Service, create_app
from api.models import BarsQuery, RollingQuery
from api.models.terms import Instant, LastDay
from tests.server import make_settings


class ToyQuery(BaseModel):
    end: LastDay | None = None
    at: Instant | None = None
    rate: float = 0.0
    count: int | None = None
    flag: bool = False


FORMS = Forms({"/toy": ToyQuery, "/x/{symbol}/bars": BarsQuery, "/run/{run_id}": RollingQuery})


def write(path: str, query: str, media: str = "json") -> tuple[str, str]:
    asked = canonical(FORMS, path, query.encode(), media)
    return asked.path, asked.query.decode()


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("", ""),
        ("rate=0&flag=off", ""),
        ("flag=YES&rate=1e-1", "rate=0.1&flag=true"),
        ("count=007&end=2012-02", "end=2012-02-29&count=7"),
        ("end=20120301", "end=2012-03-01"),
        ("end=2012-03-01T00:00:00Z", "end=2012-03-01"),
        ("end=2012-03-01T10:00:00%2B02:00", "end=2012-03-01T10%3A00%3A00%2B02%3A00"),
        ("at=2012-03-01", "at=2012-03-01"),
        ("at=2012-03-01T12:00:00%2B02:00", "at=2012-03-01T10%3A00%3A00Z"),
        ("%65nd=2012%2D03%2D01&&", "end=2012-03-01"),
        ("utm_source=letter&count=7", "count=7"),  # this model passes over what it does not know
        ("rate=-0.0", "rate=-0"),
    ],
)
def test_a_request_is_written_in_one_way(sent: str, written: str) -> None:
    assert write("/toy", sent) == ("/toy", written)
    assert write("/toy", written) == ("/toy", written)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/toy", "count=x&flag=off"),  # refused: the answer quotes it
        ("/toy", "count=7&count=7"),
        ("/toy", "&".join(f"x{n}=1" for n in range(31))),
        ("/x/ibm/bars", "interval=2d"),
        ("/x/ibm/bars", "Start=2012-01-01"),
        ("/x/ibm/bars", "quality=all&other=1"),
        ("/elsewhere", "flag=off"),
        ("/x/ibm/bars/", "order=asc"),
        ("/x/a/b/bars", "order=asc"),
    ],
)
def test_what_a_route_refuses_or_is_none_is_left_as_it_was_sent(path: str, sent: str) -> None:
    assert write(path, sent) == (path, sent)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/x/ibm/bars", "/x/IBM/bars"),
        ("/x/brk.b/bars", "/x/BRK.B/bars"),
        ("/x/straße/bars", "/x/straße/bars"),
        (f"/x/{'a' * 33}/bars", f"/x/{'a' * 33}/bars"),
        ("/run/20261123t", "/run/20261123t"),  # no symbol: its case counts
    ],
)
def test_the_case_of_a_symbol_in_a_path_does_not_matter(path: str, written: str) -> None:
    assert write(path, "") == (path if path.startswith("/run") else written, "")


def test_json_is_what_is_sent_unless_a_header_asks_for_another_format() -> None:
    assert write("/x/A/bars", "format=JSON") == ("/x/A/bars", "")
    assert write("/x/A/bars", "format=json", "csv") == ("/x/A/bars", "format=json")
    assert write("/x/A/bars", "format=csv", "csv") == ("/x/A/bars", "format=csv")


def test_every_part_of_a_key_makes_another_one() -> None:
    parts: dict[str, Any] = {"version": "v", "fingerprint": "f", "audience": "", "url": " /a?b"}
    wanted = ("json", "identity")
    others = [{name: f"{parts[name]}z"} for name in parts]
    keys = [build_key(**{**parts, **other}, wanted=wanted) for other in [{}, *others]]
    keys += [build_key(**parts, wanted=other) for other in (("csv", "identity"), ("json", "gzip"))]
    assert len({*keys, *map(build_etag, keys)}) == 2 * 7
    spaced = build_key("v", "f", "a b", "/", wanted)
    assert spaced != build_key("v", "f", "a", "b /", wanted)


def test_the_columns_that_are_left_out_are_those_that_a_bar_has() -> None:
    assert BarsQuery(fields=",".join(FIELDS)).fields is None
    assert BarsQuery(fields=",".join((*FIELDS, "complete"))).fields is not None
    assert BarsQuery(fields=",".join((*FIELDS, "complete")), interval="1wk").fields is None


# Answers of the service.


@pytest.fixture(scope="module")
def app(sample_dir: Path) -> Service:
    return create_app(make_settings(sample_dir))


Answer = tuple[int, dict[str, str], bytes]


async def ask(app: Any, path: str, query: str, state: dict[str, Any] | None = None) -> Answer:
    """The answer to a GET; `path` may be %-coded."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        **{"type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode()},
        **{"query_string": query.encode(), "headers": [], "root_path": "", "scheme": "http"},
        **{"state": dict(state or {})},
    }
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(each["body"] for each in sent[1:])


AAPL = "/instruments/AAPL/ohlcv"
SAME = [
    [(AAPL, "start=2012-01-03&end=2012-01-31"), (AAPL, "end=2012-01-31&start=2012-01-03")],
    [
        (AAPL, "limit=2"),
        ("/instruments/aapl/ohlcv", "limit=2"),
        ("/instruments/%41apl/ohlcv", "limit=02"),
        (AAPL, "order=ASC&limit=2&interval=daily&quality=All&adjustment=RAW&format=json"),
        (AAPL, "limit=2&sep=,&decimal=."),
        (AAPL, "limit=2&fields=Open,high,low,close,VOLUME"),
        (AAPL, "%6Cimit=%32&fields=open,high,low,close,volume,timestamp"),
    ],
    [(AAPL, "interval=weekly&start=2012"), (AAPL, "start=2012-01-01&interval=1wk")],
    [
        ("/ohlcv", "symbols=AAPL,MSFT&limit=3"),
        ("/ohlcv", "limit=3&symbols=aapl,%20msft,,AAPL"),
    ],
    [
        ("/instruments/IBM/statistics", "benchmark=MSFT&end=2012-12-31"),
        ("/instruments/ibm/statistics", "end=2012&benchmark=msft&explain=no&risk_free=0"),
    ],
    [("/instruments/IBM/rolling", ""), ("/instruments/IBM/rolling", "what=Volatility&window=20")],
    [("/instruments", "q=a"), ("/instruments", "q=A&after=")],
    [("/screen", ""), ("/screen", "sort=-Total_Return&min_price=0.0&after=0")],
    [
        ("/udf/history", "symbol=AAPL&resolution=1D&from=0&to=1330000000"),
        ("/udf/history", "to=1330000000&from=0&symbol=aapl&resolution=1D&_=17"),
    ],
    [("/openbb/bars", "symbol=IBM"), ("/openbb/bars", "symbol=ibm&theme=dark&interval=1D&start=")],
]


@pytest.mark.parametrize("written", SAME, ids=lambda written: written[0][0])
def test_ways_of_writing_one_request_have_one_key_and_one_etag(
    app: Service, written: list[tuple[str, str]]
) -> None:
    answers = [asyncio.run(ask(app, *each)) for each in written]
    assert [status for status, _, _ in answers] == [200] * len(written)
    assert len({(headers["etag"], body) for _, headers, body in answers}) == 1
    assert {headers["x-cache"] for _, headers, _ in answers[1:]} == {"HIT"}


def test_the_next_page_is_named_in_the_one_way_of_writing(app: Service) -> None:
    sent = "fields=Close&limit=2&start=2012&order=asc"
    _, headers, body = asyncio.run(ask(app, "/instruments/aapl/ohlcv", sent))
    following = "?start=2012-01-01&limit=2&fields=close&after=2012-01-04"
    assert f'"next":"{following}"'.encode() in body
    assert headers["link"] == f'<{following}>; rel="next"'
    etags = {
        asyncio.run(ask(app, AAPL, q))[1]["etag"] for q in (following[1:], following[1:] + "&")
    }
    assert len(etags) == 1


def test_callers_of_two_audiences_share_no_answer(app: Service) -> None:
    found = [asyncio.run(ask(app, AAPL, "limit=1", {"audience": who})) for who in ("", "a", "b")]
    assert len({headers["etag"] for _, headers, _ in found}) == 3
    assert len({body for _, _, body in found}) == 1


def test_what_is_remembered_of_requests_is_bounded(app: Service) -> None:
    targets = app.front.targets
    scopes = ({"path": "/x", "query_string": b"%d" % n, "state": {}} for n in range(MOST_KNOWN + 5))
    snapshot = app.front.database.newest()
    for scope in scopes:
        targets.find(snapshot, scope, "json", "identity")
    assert 0 < len(targets.known) <= MOST_KNOWN
    long = {"path": "/x", "query_string": b"a" * 500, "state": {}}
    targets.find(snapshot, long, "json", "identity")
    assert not any(long["query_string"] in asked for asked in targets.known)


# Whatever is sent: routes of the service, each with values that may mean the same.

TEXTS: dict[str, list[str]] = {
    "start": ["2012-01-03", "2012-01", "2012", "20120103", "2012-01-03T00:00:00Z", "x"],
    "end": ["2012-02-29", "2012-02", "2012-02-29T23:30:00+02:00", "2012-02-29T23:30:00Z", "2011"],
    "interval": ["1d", "daily", "DAY", "1wk", "weekly", "2d"],
    "adjustment": ["raw", "Split", "split", "all", ""],
    "adjusted_as_of": ["2012-01", "2012-01-31"],
    "as_of": ["2099", "2099-12-31", "2099-12-31T23:59:59.999999Z", "2099-12-31T00:00:00Z"],
    "order": ["asc", "ASC", "desc", "up"],
    "quality": ["all", "Strict", "strict"],
    "fields": ["close", "Close", "open,high,low,close,volume", "close,", "timestamp,close"],
    "limit": ["3", "03", "+3", "0", "999999999", "3.0"],
    "format": ["json", "JSON", "columns", "csv"],
    "sep": [",", ";", "comma", "tab"],
    "decimal": [".", ","],
    "symbols": ["AAPL,IBM", "aapl,ibm", " AAPL, IBM,", "IBM,AAPL", "AAPL,IBM,NONE", "none,nil"],
    "unknown": ["skip", "Skip", "error"],
    "benchmark": ["IBM", "ibm", "nil"],
    "risk_free": ["0", "0.0", "-0.0", "0.05", "5e-2", "nan"],
    "explain": ["true", "1", "no"],
    "window": ["20", "020", "5"],
    "what": ["volatility", "Volatility", "beta"],
    "after": ["0", "1", "2012-01-10", "AAPL:2012-01-10", "aapl:2012-01-10", "AAPL"],
    "q": ["A", "a", ""],
    "symbol": ["AAPL", "aapl", "XNYS:AAPL", "nyse:aapl", "nil"],
    "resolution": ["1D", "D", "1W"],
    "from": ["0", "00", "1300000000"],
    "to": ["1330000000", "1330000000.0"],
    "theme": ["dark", "light"],
}
PATHS = {
    "/instruments/{}/ohlcv": "start end interval adjustment as_of order quality fields limit format"
    " sep decimal after adjusted_as_of",
    "/ohlcv": "symbols unknown start end interval limit after format order",
    "/instruments/{}/statistics": "start end interval benchmark risk_free explain adjustment",
    "/instruments/{}/rolling": "start window what risk_free benchmark",
    "/instruments": "q limit after",
    "/instruments/{}/corporate-actions": "limit after as_of",
    "/statistics/correlation": "symbols unknown end interval",
    "/udf/history": "symbol resolution from to theme",
    "/openbb/bars": "symbol interval start end theme",
}
REQUEST_ID = re.compile(rb',"request_id":"[^"]*"')  # of a problem: added on its way out
NEEDED = {"symbols", "symbol", "resolution", "from", "to"}


def write_somehow(chance: random.Random) -> tuple[str, str]:
    """A path and a query as some client may write it, right or wrong."""
    path = chance.choice([*PATHS])
    names = PATHS[path].split()
    few = [name for name in names if name in NEEDED]
    others = [name for name in names if name not in NEEDED]
    few += chance.sample(others, min(len(others), chance.choice((0, 1, 1, 2, 3))))
    chance.shuffle(few)
    pairs = [(name, chance.choice(TEXTS[name])) for name in few]
    if chance.random() < 0.05:
        pairs += [chance.choice([*pairs, ("other", "1")])]
    parts = [f"{name}={code(value, chance)}" for name, value in pairs]
    symbol = chance.choice(("AAPL", "aapl", "Ibm", "nil", "%61apl"))
    return path.format(symbol), chance.choice(("&", "&", "&&")).join(parts)


def code(text: str, chance: random.Random) -> str:
    """%-coded where it must be, and somewhere else."""
    return "".join(
        f"%{ord(each):02X}" if chance.random() < 0.1 else quote(each, safe=":,") for each in text
    )


def write_next(forms: Forms, path: str, body: bytes) -> bytes:
    """The body with the URL of the next page in canonical form, as a route gets it."""
    found = re.search(rb'"next":"\?([^"]*)"', body)
    if found is None:
        return body
    written = canonical(forms, path, found[1], "json").query
    return body[: found.start(1)] + written + body[found.end(1) :]


def test_requests_of_one_key_have_one_answer_byte_for_byte(app: Service) -> None:
    """Each is asked of the routes as it was sent, past the edge."""
    chance, forms = random.Random(11), read_forms(app)
    groups: dict[Asked, dict[tuple[str, str], Any]] = defaultdict(dict)

    async def ask_all() -> None:
        for _ in range(700):
            path, query = write_somehow(chance)
            asked = canonical(forms, unquote(path), query.encode(), "json")
            status, headers, body = await ask(app.answer, path, query)
            told = {n: v for n, v in headers.items() if n not in ("link", "content-length")}
            groups[asked][path, query] = status, told, write_next(forms, asked.path, body)

    asyncio.run(ask_all())
    merged = [group for group in groups.values() if len(group) > 1]
    assert len(merged) > 60
    for group in merged:
        first, *others = group.items()
        for other in others:
            assert other[1] == first[1], (first[0], other[0])
    statuses = {answer[0] for group in merged for answer in group.values()}
    assert {200, 404} <= statuses


def test_the_edge_gives_what_the_routes_give(app: Service) -> None:
    """Whatever is sent: with the URL of the next page in the one way of writing."""
    chance, forms = random.Random(12), read_forms(app)

    async def ask_both() -> None:
        for _ in range(150):
            path, query = write_somehow(chance)
            asked = canonical(forms, unquote(path), query.encode(), "json")
            plain, _, expected = await ask(app.answer, path, query)
            status, _, body = await ask(app, path, query)
            body = REQUEST_ID.sub(b"", body)
            assert (status, body) == (plain, write_next(forms, asked.path, expected)), (path, query)

    asyncio.run(ask_both())
