"""What is kept of a symbol outlives each publication that does not touch it; and every answer is
the one that a service would give that was started just now."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from api.edge.depends import Dependence
from api.main import Service, create_app
from api.store.duckdb_file.snapshots import Snapshot
from tests.conftest import query_store
from tests.server import make_settings, serve, serve_app
from tests.stores import RENEW_VERSIONS, copy_folder, store_of, write_store

# {} is a symbol.
OF_SYMBOL = [
    "/instruments/{}",
    "/instruments/{}/ohlcv",
    "/instruments/{}/ohlcv?start=2012-01-03&end=2013-12-31",
    "/instruments/{}/ohlcv?adjustment=all&interval=1mo&format=csv&limit=99",
    "/instruments/{}/ohlcv?quality=strict&start=2013-02-01",
    "/instruments/{}/ohlcv?as_of=2030-01-01T00:00:00Z&start=2013-02-20",
    "/instruments/{}/ohlcv?as_of=2030-01-01T00:00:00Z&start=2013-02-20&quality=strict",
    "/instruments/{}/statistics",
    "/instruments/{}/rolling?window=20&start=2013-01-01",
    "/instruments/{}/indicators?names=sma:5&start=2013-01-01",
    "/instruments/{}/returns?start=2013-01-01",
    "/instruments/{}/drawdowns?most=3",
    "/instruments/{}/coverage",
    "/instruments/{}/coverage?limit=1",
    "/instruments/{}/notes",
    "/instruments/{}/revisions",
    "/instruments/{}/corporate-actions",
    "/instruments/{}/corporate-actions?history=true",
    "/udf/symbols?symbol={}",
    "/udf/history?symbol={}&resolution=1W&from=1356998400&to=1388534400",
    "/udf/marks?symbol={}&resolution=1D&from=0&to=1388534400",
    "/udf/timescale_marks?symbol={}&resolution=1D&from=0&to=1388534400",
    "/openbb/price_chart?symbol={}&start=2013-01-01",
    "/openbb/bars?symbol={}&start=2013-01-01",
    "/openbb/statistics?symbol={}",
]
# {} is the other symbol, or both.
OF_SEVERAL = [
    "/instruments/IBM/statistics?benchmark={}",
    "/instruments/ibm/rolling?what=beta&window=20&start=2013-01-01&bench%6dark={}",
    "/ohlcv?symbols=ibm,{}&start=2013-02-20",
    "/ohlcv/latest?symbols={},IBM",
    "/statistics/correlation?symbols=IBM,{}",
    "/statistics/covariance?symbols={},IBM",
]
OF_ALL = [
    "/instruments",
    "/screen",
    "/coverage",
    "/ohlcv/latest?symbols=IBM,NEW1&unknown=skip",
    "/udf/config",
    "/udf/symbols?symbol=NYSE:IBM",
    "/udf/search?query=",
    "/openbb/symbols",
    "/openbb/coverage",
    "/widgets.json",
    "/apps.json",
]
REFUSED = [
    "/instruments/NEW1",
    "/ohlcv?symbols=NEW1",
    "/instruments/MSFT/statistics?benchmark=NEW1",
]

MSFT = "symbol = 'MSFT'"
LAST = f"{MSFT} AND timestamp = '2013-03-01'"
SPAN = "'2013-03-02', '2031-01-01', 'run'"
# Each is one publication, and touches MSFT alone.
CHANGES = {
    "a bar revised": [
        f"""INSERT INTO ohlcv_revisions SELECT symbol, timestamp, open, high, low, close, volume,
        '2013-03-02', '2014-01-01', 'run' FROM ohlcv_data WHERE {LAST}""",
        f"UPDATE ohlcv_data SET close = high WHERE {LAST}",
        f"UPDATE ohlcv_known SET known_from = '2014-01-01' WHERE {LAST}",
        f"UPDATE instruments SET last_close = last_close + 1, digest = digest // 2 WHERE {MSFT}",
    ],
    "a bar known later": [f"UPDATE ohlcv_known SET known_from = '2031-01-01' WHERE {LAST}"],
    "a split": [
        "INSERT INTO corporate_actions"
        " VALUES ('MSFT', '2013-02-20', 'split', 3, NULL, 'sample', '2013-03-02', '2013-03-02')"
    ],
    "a dividend that was": [
        "INSERT INTO corporate_action_revisions"
        f" VALUES ('MSFT', '2012-02-14', 'dividend', NULL, 2.5, 'sample', {SPAN})"
    ],
    "actions asked for": [f"UPDATE instruments SET dividends_known_at = '2020-01-01' WHERE {MSFT}"],
    "a note": [
        "INSERT INTO bar_notes VALUES ('MSFT', '2013-02-28', 'odd', 'x', 'r', '2014-01-01')"
    ],
    "a note that was": [
        f"INSERT INTO bar_note_revisions VALUES ('MSFT', '2013-02-27', 'odd', 'y', {SPAN})"
    ],
    "a gap": ["INSERT INTO gaps VALUES ('MSFT', '2013-02-26', 'not delivered')"],
    "another source": [f"UPDATE instruments SET source = 'files' WHERE {MSFT}"],
}
TELLING = ("a bar revised", "a split", "a gap")


@pytest.fixture
def data(sample_dir: Path, tmp_path: Path) -> Path:
    return copy_folder(sample_dir, tmp_path / "data")


def publish(data: Path, *changes: str) -> None:
    """Put the next publication, with these changes of the tables, in the place of the last."""
    following = data / "next.duckdb"
    shutil.copy(store_of(data), following)
    count = query_store(store_of(data), "SELECT generation FROM generation")[0][0].partition("-")
    named = f"UPDATE generation SET generation = '{int(count[0]) + 1}-abcdef01'"
    write_store(following, *changes, RENEW_VERSIONS, named, "CHECKPOINT")
    following.replace(store_of(data))


def fill(templates: list[str], symbol: str) -> list[str]:
    return [url.format(symbol) for url in templates]


def read_all(client: httpx.Client, urls: list[str]) -> dict[str, tuple[int, bytes, object]]:
    """All of each answer but how it was made, and when."""
    answers = {url: client.get(url, headers={"X-Request-ID": "same"}) for url in urls}
    left_out = ("date", "x-cache")
    return {
        url: (
            answer.status_code,
            answer.content,
            sorted(item for item in answer.headers.items() if item[0] not in left_out),
        )
        for url, answer in answers.items()
    }


@pytest.fixture
def warm(data: Path) -> Iterator[httpx.Client]:
    with serve(data) as client:
        yield client


TELLING = ("a bar revised", "a dividend that was", "a gap")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(TELLING, id="three publications"),
        pytest.param(tuple(CHANGES), id="all publications", marks=pytest.mark.long),
    ],
)
def test_every_answer_is_that_of_a_service_started_now(
    warm: httpx.Client, data: Path, names: tuple[str, ...]
) -> None:
    urls = [
        *(*fill(OF_SYMBOL, "MSFT"), *fill(OF_SYMBOL, "IBM"), *fill(OF_SEVERAL, "MSFT")),
        *(*OF_ALL, *REFUSED),
    ]
    before = read_all(warm, urls)
    assert {url for url, answer in before.items() if answer[0] != 200} == set(REFUSED)
    for name in names:
        publish(data, *CHANGES[name])
        after = read_all(warm, urls)
        # a process should not open one file twice: closing one would drop the lock of both
        with serve(shutil.copytree(data, data.parent / name)) as cold:
            assert after == read_all(cold, urls)
        moved = [url for url in urls if before[url][1] != after[url][1]]
        assert any("MSFT" in url for url in moved), name
        before = after


def test_a_symbol_that_a_publication_brings_is_found(warm: httpx.Client, data: Path) -> None:
    before = {url: warm.get(url) for url in REFUSED}
    assert {answer.status_code for answer in before.values()} == {404}
    publish(
        data,
        "INSERT INTO instruments SELECT * REPLACE ('NEW1' AS symbol) FROM instruments"
        f" WHERE {MSFT}",
        *(
            f"INSERT INTO {table} SELECT * REPLACE ('NEW1' AS symbol) FROM {table} WHERE {MSFT}"
            for table in ("ohlcv_data", "ohlcv_known")
        ),
    )
    for url in REFUSED:
        assert warm.get(url).status_code == 200
    assert warm.get("/ohlcv/latest?symbols=IBM,NEW1&unknown=skip").json()["unknown"] == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(changes, id=name, marks=() if name in TELLING else pytest.mark.long)
        for name, changes in CHANGES.items()
    ],
)
def test_what_is_about_other_symbols_is_kept_and_names_the_new_generation(
    warm: httpx.Client, data: Path, changes: list[str]
) -> None:
    urls = [*fill(OF_SYMBOL, "IBM"), *fill(OF_SEVERAL, "AAPL")]
    first = {url: warm.get(url) for url in urls}
    publish(data, *changes)
    newest = warm.get("/health").json()["generation"]
    for url, answer in first.items():
        again = warm.get(url)
        assert (again.headers["x-cache"], again.content) == ("HIT", answer.content), url
        assert again.headers["etag"] == answer.headers["etag"]
        assert again.headers["x-data-generation"] == newest
        asked = warm.get(url, headers={"If-None-Match": answer.headers["etag"]})
        assert (asked.status_code, asked.headers["x-data-generation"]) == (304, newest)


def test_what_a_publication_changed_is_made_anew_in_every_combination(
    warm: httpx.Client, data: Path
) -> None:
    urls = [*fill(OF_SYMBOL, "MSFT"), *fill(OF_SEVERAL, "MSFT"), *OF_ALL]
    first = {url: warm.get(url) for url in urls}
    publish(data, *CHANGES["a bar revised"])
    for url, answer in first.items():
        again = warm.get(url, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.headers["x-cache"]) == (200, "MISS"), url
        assert again.headers["etag"] != answer.headers["etag"]


def test_columns_of_other_symbols_are_not_read_again(data: Path) -> None:
    app = create_app(make_settings(data))
    with serve_app(app) as client:
        for symbol in ("MSFT", "IBM"):
            client.get(f"/instruments/{symbol}/ohlcv?limit=1").raise_for_status()
        held = {symbol: find_held(app, symbol) for symbol in ("MSFT", "IBM")}
        publish(data, *CHANGES["a bar revised"])
        assert find_held(app, "MSFT") is None
        assert find_held(app, "IBM") is held["IBM"]
        client.get("/instruments/IBM/ohlcv?limit=2").raise_for_status()
        client.get("/ohlcv?symbols=IBM,MSFT&limit=2").raise_for_status()
        assert find_held(app, "IBM") is held["IBM"]
        assert find_held(app, "MSFT") is not None


def find_held(app: Service, symbol: str) -> object:
    return app.state.series_cache.find(app.state.database.newest(), symbol)


def test_a_file_without_versions_is_keyed_by_its_generation(data: Path) -> None:
    publish(data)
    write_store(store_of(data), "UPDATE instruments SET version = NULL")
    with serve(data) as client:
        answer = client.get("/instruments/IBM/ohlcv")
        generation = answer.headers["x-data-generation"]
        assert answer.headers["etag"].startswith(f'"{generation}-')
        assert client.get("/instruments/IBM/ohlcv").headers["x-cache"] == "HIT"


@pytest.fixture(scope="module")
def dependence() -> tuple[Service, Dependence]:
    app = create_app(make_settings(Path("nowhere")))
    return app, Dependence(app)


@pytest.mark.parametrize(
    ("path", "query", "version"),
    [
        ("/instruments/IBM", b"", "i"),
        ("/instruments/ ibm /ohlcv", b"start=2012-01-03", "i"),
        ("/instruments/NEW1/ohlcv", b"", "g"),
        ("/instruments/IBM/ohlcv/more", b"", "g"),
        ("/instruments/IBM/statistics", b"benchmark=NEW1", "g"),
        ("/instruments/IBM/statistics", b"benchmark=", "g"),
        ("/instruments/IBM/statistics", b"benchmark=IBM&benchmark=MSFT", "g"),
        ("/ohlcv", b"symbols=IBM", "i"),
        ("/ohlcv", b"symbols=,%69bm,", "i"),
        ("/ohlcv", b"symbols=IBM,NEW1&unknown=skip", "g"),
        ("/ohlcv", b"", "g"),
        ("/ohlcv", b"limit=2", "g"),
        ("/udf/history", b"symbol=NYSE%3AIBM", "g"),
        ("/udf/history", b"symbol=ibm", "i"),
        ("/instruments", b"q=IBM", "g"),
        ("/screen", b"", "g"),
        ("/nowhere", b"symbols=IBM", "g"),
    ],
)
def test_the_version_is_that_of_what_the_request_names(
    dependence: tuple[Service, Dependence], path: str, query: bytes, version: str
) -> None:
    snapshot = make_snapshot(IBM="i", MSFT="m")
    assert dependence[1].find_version(snapshot, path, query) == version


def test_each_order_and_each_symbol_of_several_has_a_version(
    dependence: tuple[Service, Dependence],
) -> None:
    snapshot = make_snapshot(IBM="i", MSFT="m", AAPL="a")
    queries = (b"symbols=IBM,MSFT", b"symbols=MSFT,IBM", b"symbols=IBM,AAPL", b"symbols=IBM")
    assert len({dependence[1].find_version(snapshot, "/ohlcv", q) for q in queries}) == 4


def make_snapshot(**versions: str) -> Snapshot:
    return Snapshot(duckdb.connect(), "g", datetime.now(UTC), versions)


def test_each_route_that_names_symbols_is_asked_here(
    dependence: tuple[Service, Dependence],
) -> None:
    app, marks = dependence
    named = {
        route.path
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute) and route.path and "{symbol}" in route.path
    }
    assert named == {
        f"{head}{{symbol}}{end}" for head, ends in marks.by_end.items() for end in ends
    }
    asked = {url.partition("?")[0].replace("{}", "{symbol}") for url in OF_SYMBOL}
    asked |= {url.partition("?")[0] for url in OF_SEVERAL}
    assert asked >= named | set(marks.by_path)
