"""Every way to fail gives one kind of body: RFC 9457, and nothing of the inside."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI

from api.faults import QueryTimeout
from api.main import create_app
from api.models import ProblemBody
from api.store.duckdb_file.snapshots import Database
from etl import load
from tests.conftest import CLEAN_SCHEMA, call_stage, clean_environ, make_row
from tests.server import make_settings, serve, serve_app

BARS = "/instruments/AAPL/ohlcv"
STATISTICS = "/instruments/AAPL/statistics"
NOTES = "/instruments/AAPL/notes"
REVISIONS = "/instruments/AAPL/revisions"
ACTIONS = "/instruments/AAPL/corporate-actions"
COVERAGE = "/instruments/AAPL/coverage"
RUN = "/etl/runs/20990101T000000Z-000000"
PATHS = [
    *("/health", "/instruments", "/instruments/AAPL", BARS, STATISTICS),
    *(COVERAGE, NOTES, REVISIONS, ACTIONS, "/etl/runs", RUN),
]
NO_INSTANT = "is no instant: write it as 2020-05-08T20:00:00Z"

# (request, status, what the detail says)
REFUSALS = [
    ("GET /instruments/APPL", 404, "Unknown symbol APPL: did you mean AAPL?"),
    ("GET /instruments/appl/ohlcv", 404, "Unknown symbol APPL: did you mean AAPL?"),
    ("GET /instruments/MSTF/statistics", 404, "Unknown symbol MSTF: did you mean MSFT?"),
    ("GET /instruments/GOOGL", 404, "Unknown symbol GOOGL: did you mean GOOG?"),
    ("GET /instruments/M", 404, "Unknown symbol M: did you mean MSFT?"),
    ("GET /instruments/QQQQQQ", 404, "Unknown symbol QQQQQQ: /instruments lists them all."),
    ("GET /instruments/APPL/coverage", 404, "Unknown symbol APPL: did you mean AAPL?"),
    ("GET /instruments/appl/notes", 404, "Unknown symbol APPL: did you mean AAPL?"),
    ("GET /instruments/APPL/revisions?limit=1", 404, "Unknown symbol APPL: did you mean AAPL?"),
    ("GET /instruments/QQQQQQ/corporate-actions", 404, "QQQQQQ: /instruments lists them all."),
    ("GET /instruments/APPL/ohlcv?as_of=2020-05-08T20:00:00Z", 404, "did you mean AAPL?"),
    ("GET /instruments/APPL/ohlcv?quality=strict", 404, "did you mean AAPL?"),
    (f"GET {RUN}", 404, "Unknown run 20990101T000000Z-000000: /etl/runs lists them all."),
    ("GET /etl/runs/A%00B", 404, "Unknown run A\0B: /etl/runs lists them all."),
    ("GET /etl", 404, "There is no such page"),
    ("GET /etl/runs/A%2FB", 404, "There is no such page"),
    ("GET /instruments/A%00B", 404, "Unknown symbol A\0B: /instruments lists them all."),
    ("GET /nowhere", 404, "There is no such page: /docs lists what there is."),
    ("GET /instruments/AAPL/nowhere", 404, "There is no such page"),
    ("GET /instruments/A%2FB", 404, "There is no such page"),
    ("GET /health/nowhere", 404, "There is no such page"),
    ("GET /docs/files/nowhere.js", 404, "There is no such page"),
    ("GET /docs/files/..%2f__init__.py", 404, "There is no such page"),
    ("POST /instruments", 405, "This service only reads: use GET or HEAD."),
    ("PUT /instruments/AAPL", 405, "This service only reads"),
    ("DELETE /health", 405, "This service only reads"),
    ("DELETE /etl/runs", 405, "This service only reads"),
    (f"POST {NOTES}", 405, "This service only reads"),
    ("PATCH /docs", 405, "This service only reads"),
    ("POST /docs/files/swagger-ui.css", 405, "This service only reads"),
    ("OPTIONS /instruments", 405, "This service only reads"),
    (f"GET {BARS}?start=2013-05-01&end=2012-01-01", 422, "start 2013-05-01 is after end 2012-01-0"),
    (f"GET {STATISTICS}?start=2013-05-01&end=2012-01-01", 422, "2012-01-01: swap them"),
    (f"GET {BARS}?start=2012-02-30", 422, "'2012-02-30' is no day: write it as 2012-01-31"),
    (f"GET {BARS}?end=1/3/2012", 422, "'1/3/2012' is no day: write it as 2012-01-31"),
    (f"GET {BARS}?end=201201", 422, "'201201' is no day"),
    (f"GET {BARS}?end=2012-13", 422, "'2012-13' is no day"),
    (f"GET {BARS}?end=2012-01-03T25:00", 422, "'2012-01-03T25:00' is no day"),
    (f"GET {BARS}?start=2012-W01-1", 422, "'2012-W01-1' is no day"),
    (f"GET {BARS}?start=1362061800", 422, "'1362061800' is no day and no instant: write it as"),
    (f"GET {BARS}?start=1362061800000", 422, "or as 2012-01-31T09:30, with Z or an offset"),
    (f"GET {BARS}?end=2012-01-03x10:00", 422, "'2012-01-03x10:00' is no day and no instant"),
    (f"GET {BARS}?start=", 422, "'' is no day"),
    (f"GET {BARS}?limit=0", 422, "limit=0: it should be from 1 to 50000 (MAX_ROWS)"),
    (f"GET {BARS}?limit=-1", 422, "limit=-1: it should be from 1 to 50000 (MAX_ROWS)"),
    ("GET /instruments?limit=0", 422, "limit=0: it should be from 1 to 50000 (MAX_ROWS)"),
    (f"GET {BARS}?limit=50001", 422, "limit=50001: it should be from 1 to 50000 (MAX_ROWS)"),
    (f"GET {BARS}?limit={'9' * 40}", 422, "it should be from 1 to 50000 (MAX_ROWS)"),
    (f"GET {BARS}?limit=two", 422, "limit=two: it should be a valid integer"),
    (f"GET {BARS}?limit=", 422, "limit=: it should be a valid integer"),
    ("GET /instruments?limit=50001", 422, "limit=50001: it should be from 1 to 50000 (MAX_ROWS)"),
    (f"GET {BARS}?order=up", 422, "order=up: possible are asc or desc"),
    (f"GET {BARS}?adjustment=full", 422, "adjustment=full: possible are raw, split or all"),
    (f"GET {STATISTICS}?adjustment=no", 422, "adjustment=no: possible are raw, split or all"),
    (
        f"GET {BARS}?from=2012-01-01",
        422,
        "unknown parameter from: possible are start, end, interval, adjusted_as_of, limit, order,"
        " adjustment, fields, format, sep, decimal, as_of, quality",
    ),
    (f"GET {BARS}?as_of=yesterday", 422, f"'yesterday' {NO_INSTANT}"),
    (f"GET {BARS}?as_of=", 422, f"'' {NO_INSTANT}"),
    (f"GET {BARS}?as_of=2020-05-32", 422, f"'2020-05-32' {NO_INSTANT}"),
    (f"GET {BARS}?as_of=2020-05-08T20:00:00", 422, f"'2020-05-08T20:00:00' {NO_INSTANT}"),
    (f"GET {BARS}?as_of=2020-05-08T25:00:00Z", 422, f"'2020-05-08T25:00:00Z' {NO_INSTANT}"),
    (f"GET {BARS}?as_of=1588968000", 422, f"'1588968000' {NO_INSTANT}"),
    (f"GET {BARS}?as_of=2020-05-08T20:00:00+2", 422, f"'2020-05-08T20:00:00 2' {NO_INSTANT}"),
    (f"GET {BARS}?as_of=9999-12-31T23:59:59-01:00", 422, NO_INSTANT),
    (f"GET {BARS}?as_of=0001-01-01T00:00:00%2B01:00", 422, NO_INSTANT),
    (f"GET {BARS}?{'x=&' * 999}", 422, "999 parameters are given: no page has 30"),
    ("GET /ohlcv", 422, "symbols is missing: add symbols="),
    (f"GET /instruments/{'A' * 33}", 422, "it should have at most 32 characters"),
    (f"GET {STATISTICS}?benchmark=", 422, "benchmark=: it should have at least 1 character"),
    (f"GET {STATISTICS}?risk_free=nan", 422, "risk_free=nan: it should be a finite number"),
    ("GET /screen?min_volume=inf", 422, "min_volume=inf: it should be a finite number"),
    (
        "GET /screen?sort=beta",
        422,
        "sort=beta: possible are symbol, bars, last_close, total_return",
    ),
    (f"GET {BARS}?quality=good", 422, "quality=good: possible are all or strict"),
    (f"GET {STATISTICS}?known=2020-05-08T20:00:00Z", 422, "unknown parameter known: possible are"),
    (f"GET {COVERAGE}?start=2012-01-01", 422, "unknown parameter start: possible are limit, after"),
    (f"GET {NOTES}?x=1", 422, "unknown parameter x: possible are limit, after, start, end"),
    (f"GET {REVISIONS}?x=1", 422, "unknown parameter x: possible are limit, after, start, end"),
    (f"GET {ACTIONS}?start=2012-01-01", 422, "unknown parameter start: possible are limit, after"),
    ("GET /etl/runs?x=1", 422, "unknown parameter x: possible are limit, after"),
    (f"GET {RUN}?x=1", 422, "unknown parameter x: possible are limit, after"),
    (f"GET {NOTES}?start=2013-05-01&end=2012-01-01", 422, "2012-01-01: swap them"),
    (f"GET {REVISIONS}?start=2013-05-01&end=2012-01-01", 422, "2012-01-01: swap them"),
    (f"GET {REVISIONS}?start=yesterday", 422, "'yesterday' is no day"),
    *(
        (f"GET {path}?limit={limit}", 422, f"limit={limit}: it should be from 1 to 50000")
        for path in (NOTES, REVISIONS, ACTIONS, "/etl/runs", RUN)
        for limit in (0, -1, 50001)
    ),
    *(
        (f"GET {path}?after={after}", 422, f"after={after}: it should be {wanted}")
        for path in (NOTES, REVISIONS, ACTIONS, RUN)
        for after, wanted in (
            ("-1", "greater than or equal to 0"),
            (2**53 + 1, "less than or equal to 9007199254740992"),
            (2**63, "less than or equal to 9007199254740992"),
            ("9" * 70, "less than or equal to 9007199254740992"),
            ("AAPL", "a valid integer"),
            ("1.5", "a valid integer"),
        )
    ),
    (f"GET {NOTES}?after={'9' * 5000}", 422, "exceeded maximum size"),
    (f"GET {NOTES}?after=1&after=2", 422, "after is given 2 times: give it once"),
    (f"GET /etl/runs?after={'A' * 65}", 422, "should have at most 64 characters"),
    (f"GET /etl/runs/{'A' * 65}", 422, "should have at most 64 characters"),
    (
        f"GET {STATISTICS}?limit=1",
        422,
        "unknown parameter limit: possible are start, end, interval, adj",
    ),
    ("GET /instruments?x=1", 422, "unknown parameter x: possible are q, limit, after"),
    ("GET /instruments/AAPL?x=1", 422, "unknown parameter x: possible are none here"),
    ("GET /health?x=1", 422, "unknown parameter x: possible are none here"),
    (f"GET {BARS}?limit=1&limit=2", 422, "limit is given 2 times: give it once"),
    (f"GET /instruments/{'A' * 33}", 422, "should have at most 32 characters"),
    (f"GET /instruments?q={'A' * 33}", 422, "should have at most 32 characters"),
    (f"GET {BARS}?limit=x&order=y", 422, "; order=y: possible are asc or desc"),
]

FIRST = ("type", "title", "status", "detail")
# Signs of a path, a query or a stack.
INSIDE = re.compile(
    r"\.duckdb|\.py\b|/tmp|/home|/root|site-packages|SELECT|FROM|ATTACH|market\.|Traceback"
    r"|line \d+|duckdb\.|Error:|Exception"
)


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body, once it is found to be the one error body and to tell nothing of the inside."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    body: dict[str, Any] = answer.json()
    ProblemBody.model_validate(body)
    assert set(body) <= {*FIRST, "nearest", "errors", "request_id"}
    assert tuple(body)[:4] == FIRST
    assert body["request_id"] == answer.headers["x-request-id"]
    assert (body["type"], body["title"]) == ("about:blank", HTTPStatus(status).phrase)
    assert body["status"] == status
    shown = answer.text + str(answer.headers)
    assert not INSIDE.search(shown), shown
    return body


@pytest.mark.parametrize(("request_line", "status", "detail"), REFUSALS)
def test_a_refusal_says_what_is_possible(
    client: httpx.Client, request_line: str, status: int, detail: str
) -> None:
    method, url = request_line.split(" ", 1)
    body = check_problem(client.request(method, url), status)
    assert detail in body["detail"]


LONG = "Q" * 30_000


@pytest.mark.parametrize(
    "url",
    [
        f"{BARS}?{LONG}=1",
        f"{BARS}?{'W%20' * 10_000}=1",
        f"{BARS}?{LONG}=1&{LONG}=2",
        f"{BARS}?limit={LONG}",
        f"{BARS}?start={LONG}",
        f"{BARS}?as_of={LONG}",
        f"{BARS}?fields={LONG}",
        f"{BARS}?format={LONG}",
        f"{BARS}?interval={LONG}",
        f"/instruments/{LONG}",
        f"/instruments?after={LONG}",
        f"/ohlcv?symbols={LONG},{LONG}",
        f"/ohlcv?symbols=AAPL&after={LONG}",
        f"/screen?sort={LONG}",
        f"{BARS.replace('ohlcv', 'indicators')}?names={LONG}",
        f"/etl/runs/{LONG}",
        f"/udf/history?symbol={LONG}&resolution=1D&from=1&to=2",
        f"/udf/history?symbol=AAPL&resolution={LONG}&from=1&to=2",
        f"/{LONG}",
    ],
    ids=lambda url: url.replace(LONG, "LONG")[:40],
)
def test_a_refusal_gives_back_little_of_what_was_sent(client: httpx.Client, url: str) -> None:
    answer = client.get(url)
    assert answer.status_code in (200, 404, 406, 422)
    assert len(answer.content) < 3_000
    assert answer.text.count("Q" * 81) == 0


def test_an_unknown_symbol_names_the_nearest(client: httpx.Client) -> None:
    assert client.get("/instruments/APPL").json()["nearest"] == ["AAPL"]
    assert client.get("/instruments/IBN").json()["nearest"][0] == "IBM"
    assert client.get("/instruments/QQQQQQ").json()["nearest"] == []


def test_each_bad_parameter_is_named(client: httpx.Client) -> None:
    body = check_problem(client.get(f"{BARS}?limit=x&start=y&order=z&w=1"), 422)
    assert [error["parameter"] for error in body["errors"]] == ["start", "limit", "order", "w"]
    assert body["detail"] == "; ".join(error["message"] for error in body["errors"])


def test_a_refused_method_names_the_ones_there_are(client: httpx.Client) -> None:
    assert client.post("/instruments").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("url", PATHS)
def test_without_a_database_it_is_503_with_the_remedy(data_dir: Path, url: str) -> None:
    with serve(data_dir) as client:
        answer = client.get(url)
        body = check_problem(answer, 503)
        assert "run `make etl`" in body["detail"]
        assert answer.headers["retry-after"] == "5"
        assert client.head(url).status_code == 503
        check_problem(client.get("/nowhere"), 404)


@pytest.mark.parametrize("url", PATHS)
def test_without_a_database_a_bad_request_is_refused_as_ever(data_dir: Path, url: str) -> None:
    """A client learns of its own mistake first: to wait for a database would not repair it."""
    with serve(data_dir) as client:
        body = check_problem(client.get(f"{url}?x=1"), 422)
        assert body["detail"].startswith("unknown parameter x")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("start=2013-05-01&end=2012-01-01", "swap them"),
        ("limit=0", "it should be from 1 to 50000"),
        ("as_of=8/5/2020", NO_INSTANT),
        ("limit=1&limit=2", "give it once"),
        ("fields=price", "possible are open, high, low, close, volume"),
        ("quality=strict&interval=1wk", "it goes with interval=1d only"),
    ],
)
def test_without_a_database_a_message_is_the_same(data_dir: Path, query: str, detail: str) -> None:
    with serve(data_dir) as client:
        assert detail in check_problem(client.get(f"{BARS}?{query}"), 422)["detail"]


@pytest.mark.parametrize("path", ["/ohlcv", "/ohlcv/latest", "/statistics/correlation"])
def test_without_a_database_a_list_of_symbols_is_checked_first(data_dir: Path, path: str) -> None:
    with serve(data_dir) as client:
        assert "name 1 to 100" in check_problem(client.get(f"{path}?symbols=,"), 422)["detail"]
        check_problem(client.get(f"{path}?symbols=AAPL,XYZ"), 503)


def test_a_database_that_cannot_be_read_is_503_with_the_remedy(data_dir: Path) -> None:
    (data_dir / "market_data.duckdb").write_bytes(b"no database" * 1000)
    with serve(data_dir) as client:
        body = check_problem(client.get("/instruments"), 503)
    assert body["detail"].startswith("The database cannot be read: run `make etl`")


def test_a_question_over_the_time_limit_is_stopped(sample_dir: Path) -> None:
    heavy = "SELECT count(*) FROM range(10_000_000_000) a WHERE hash(a.range) % 7 = 8"

    async def ask() -> None:
        database = Database(sample_dir / "market_data.duckdb", memory_mb=64, timeout=0.2)
        snapshot = database.newest()
        with pytest.raises(QueryTimeout, match=r"longer than 0\.2 s"):  # it takes minutes
            await database.ask(snapshot, lambda cursor: cursor.execute(heavy).fetchall())
        # the snapshot is none the worse for it
        count = "SELECT count(*) FROM market.instruments"
        rows = await database.ask(snapshot, lambda cursor: cursor.execute(count).fetchall())
        assert rows == [(5,)]

    asyncio.run(ask())


@pytest.fixture(scope="module")
def wide_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 60,000 symbols with long names: naming the nearest takes a while."""
    folder = tmp_path_factory.mktemp("wide")
    row = make_row("", "2020-01-02", 5.0)
    symbols = [f"{'ABCDEFGHIJKLMNOPQRSTUV'}{number:06}" for number in range(60_000)]
    columns = {n: [v] * len(symbols) for n, v in row.items()} | {"symbol": symbols}
    pq.write_table(pa.table(columns, schema=CLEAN_SCHEMA), folder / "bars.parquet")
    database = folder / "market_data.duckdb"
    args = ("--input", folder / "bars.parquet", "--database", database)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(folder).items():
            patch.setenv(name, value)
        assert call_stage(load.main, *args) == 0
    return folder


@pytest.mark.long
def test_a_request_over_query_timeout_is_503_and_is_not_kept(wide_dir: Path) -> None:
    with serve(wide_dir, QUERY_TIMEOUT="0.01") as client:
        url = "/instruments/ZYXWVUTSRQPONMLKJIHGFEDCBA98765"
        for _ in range(2):
            answer = client.get(url)
            body = check_problem(answer, 503)
            assert "took longer than 0.01 s" in body["detail"]
            assert "QUERY_TIMEOUT" in body["detail"]
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["x-cache"] == "MISS"
    with serve(wide_dir, QUERY_TIMEOUT="20") as client:
        check_problem(client.get(url), 404)


@pytest.fixture
def faulty_app(own_sample: Path) -> FastAPI:
    """An app over a store that lacks the table of splits: bars cannot be adjusted."""
    database = own_sample / "market_data.duckdb"
    changed = own_sample / "changed.duckdb"
    shutil.copyfile(database, changed)
    with duckdb.connect(str(changed)) as connection:
        connection.execute("DROP TABLE corporate_actions")
    changed.replace(database)
    return create_app(make_settings(own_sample))


def test_a_fault_of_ours_is_500_and_tells_nothing(
    faulty_app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    with serve_app(faulty_app) as client:
        answer = client.get(BARS)
        body = check_problem(answer, 500)
        assert body["detail"] == "Something went wrong here; the server's log says what."
        assert client.head(BARS).status_code == 500
        assert client.get("/instruments/AAPL").status_code == 200
    assert "corporate_actions does not exist" in caplog.text  # the log tells all


def test_the_answer_to_a_fault_says_that_the_connection_ends(faulty_app: FastAPI) -> None:
    with serve_app(faulty_app) as client:
        for _ in range(5):  # a client that kept it would find it reset
            assert client.get(BARS).headers["connection"] == "close"
