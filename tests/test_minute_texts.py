"""Ranges that are cut out of prepared text are, byte for byte, what the routes give."""

import asyncio
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.cache.minute_texts import MinuteTexts
from api.main import create_app
from api.store.minutes.views import MinuteView
from tests.conftest import clean_environ, run_stage
from tests.minute_data import Minutes, fill
from tests.server import connect, make_settings, serve_app, wait_until

URL = "/instruments/AAPL/ohlcv?"
SPANS = (
    *("start=2013-02-27&end=2013-03-04", "start=2013-03-05", "end=2013-02-28", ""),
    *("start=2013-03-02&end=2013-03-03", "start=2013-02-28&end=2013-02-28", "start=2014-01-01"),
    *("end=2012-01-01", "start=2013-03-09&end=2013-03-11"),
)


@pytest.fixture
def data_dir(sample_dir: Path, tmp_path: Path) -> Path:
    return Path(copytree(sample_dir, tmp_path / "data"))


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each question before routing whether there was a text to answer it from."""
    found: list[bool] = []
    cut = MinuteTexts.cut

    def note(self: MinuteTexts, *asked: Any) -> bytes | None:
        made = cut(self, *asked)
        found.append(made is not None)
        return made

    monkeypatch.setattr(MinuteTexts, "cut", note)
    return found


def prepare(client: httpx.Client, app: FastAPI, asked: str) -> None:
    """Ask until the texts of all months are there."""
    texts = app.state.minute_texts
    for day in ("2013-02-25", "2013-02-26"):
        client.get(f"{URL}{asked}&start={day}").raise_for_status()
    wait_until(lambda: not texts.preparing)


@pytest.mark.parametrize("asked", ["interval=1m", "interval=5m&hours=extended", "interval=1h"])
def test_a_cut_is_what_the_route_gives(data_dir: Path, ways: list[bool], asked: str) -> None:
    fill(data_dir, Minutes())
    with serve_app(create_app(make_settings(data_dir))) as client:
        single = [client.get(f"{URL}{asked}&{span}".rstrip("&")) for span in SPANS]
        routed = [client.get(f"{URL}{asked}&limit=50000&{span}".rstrip("&")) for span in SPANS]
    ways.clear()
    app = create_app(make_settings(data_dir))
    with serve_app(app) as client:
        prepare(client, app, asked)
        ways.clear()
        cut = [client.get(f"{URL}{asked}&{span}".rstrip("&")) for span in SPANS]
    assert ways == [span not in ("start=2014-01-01", "end=2012-01-01") for span in SPANS]
    assert [each.content for each in cut] == [each.content for each in routed]
    assert [each.content for each in single] == [each.content for each in routed]
    assert [each.headers["etag"] for each in single] == [each.headers["etag"] for each in cut]
    assert all(each.json()["data"] for each in (cut[0], cut[1]))


def test_text_is_not_cut_where_something_else_is_asked_for(
    data_dir: Path, ways: list[bool]
) -> None:
    fill(data_dir, Minutes())
    app = create_app(make_settings(data_dir))
    with serve_app(app) as client:
        prepare(client, app, "interval=1h")
        ways.clear()
        for more in ("start=2013-03-04T10:00", "order=desc", "adjustment=split", "format=csv"):
            client.get(f"{URL}interval=1h&{more}").raise_for_status()
        assert not any(ways)
        assert client.get(f"{URL}interval=1h&start=2013-03-05&end=2013-03-04").status_code == 422
        assert client.get(f"{URL}interval=1h&start=2013-02-30").status_code == 422


def test_a_load_leaves_texts_and_etags_of_other_symbols_alone(
    data_dir: Path, ways: list[bool]
) -> None:
    """What was loaded is told from then on; another symbol keeps its answers under their ETag."""
    ibm = Minutes("IBM", shift=5.0)
    fill(data_dir, Minutes(), ibm)
    app = create_app(make_settings(data_dir))
    url = "/instruments/IBM/ohlcv?interval=1h&start=2013-03-15"
    with serve_app(app) as client:
        prepare(client, app, "interval=1h")
        before = {name: client.get(url.replace("IBM", name)) for name in ("AAPL", "IBM")}
        fill(data_dir, Minutes("IBM", shift=6.0, fetched_at=ibm.fetched_at.replace(day=3)))
        after = {name: client.get(url.replace("IBM", name)) for name in ("AAPL", "IBM")}
        etag = before["AAPL"].headers["etag"]
        again = client.get(url.replace("IBM", "AAPL"), headers={"If-None-Match": etag})
    assert after["AAPL"].headers["etag"] == etag
    assert (after["AAPL"].headers["x-cache"], again.status_code) == ("HIT", 304)
    assert (
        after["AAPL"].headers["x-minute-generation"]
        != before["AAPL"].headers["x-minute-generation"]
    )
    assert after["IBM"].headers["etag"] != before["IBM"].headers["etag"]
    assert after["IBM"].json()["data"][0]["close"] == pytest.approx(
        before["IBM"].json()["data"][0]["close"] + 1
    )


ALIKE = [
    "interval=5m&start=2013-02-28&end=2013-03-01",
    "end=2013-03-01&start=2013-02-28&hours=regular&interval=5m",
    "interval=%35m&start=2013-02-28&end=2013-03-01",
    "interval=5MIN&start=20130228&end=2013-03-01&adjustment=raw&order=asc",
    "start=2013-02-28&end=2013-03-01&interval=5m&fields=open,high,low,close,volume,complete",
]


def test_a_request_of_minutes_has_one_key_however_it_is_written(data_dir: Path) -> None:
    fill(data_dir, Minutes())
    with serve_app(create_app(make_settings(data_dir))) as client:
        answers = [client.get(f"{URL}{query}") for query in ALIKE]
        times = [
            client.get(f"{URL}interval=5m&start={start}&limit=3")
            for start in ("2013-02-28T15:00Z", "2013-02-28T16:00%2B01:00", "20130228T150000Z")
        ]
    for found in (answers, times):
        assert len({each.headers["etag"] for each in found}) == 1
        assert [each.headers["x-cache"] for each in found[1:]] == ["HIT"] * (len(found) - 1)


def test_questions_at_once_read_a_month_once(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(data_dir, Minutes())
    read: list[Any] = []
    series = MinuteView.read_series

    def note(self: Any, *asked: Any) -> Any:
        read.append(asked)
        return series(self, *asked)

    monkeypatch.setattr(MinuteView, "read_series", note)

    async def ask_all(base: str) -> list[int]:
        async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as client:
            urls = (f"{URL}interval={each}&start=2013-03-04" for each in ("1m", "5m", "1h", "15m"))
            return [a.status_code for a in await asyncio.gather(*map(client.get, urls))]

    with serve_app(create_app(make_settings(data_dir))) as client:
        assert asyncio.run(ask_all(str(client.base_url))) == [200] * 4
        assert len(read) == 1
        with connect(client.base_url) as other:
            other.get(f"{URL}interval=30m&start=2013-02-26&end=2013-03-12").raise_for_status()
    assert len(read) == 2, "the month that was missing alone"


def test_months_and_texts_keep_within_the_memory_for_all(data_dir: Path) -> None:
    fill(data_dir, *(Minutes(f"S{n}", shift=float(n)) for n in range(6)))
    app = create_app(make_settings(data_dir, CACHE_MAX_MB="1"))
    memory = app.state.cache.memory
    with serve_app(app) as client:
        for turn in range(2):
            for n in range(6):
                url = f"/instruments/S{n}/ohlcv?interval=1m&start=2013-03-0{4 + turn}"
                first = client.get(url).json()["data"][0]
                minutes = (5 + turn) * 450 + 30  # before the open of that session
                assert first["close"] == round(100 + n + minutes / 100, 2)
                assert memory.bytes <= memory.max_bytes
        wait_until(lambda: not app.state.minute_texts.preparing)
    assert memory.bytes <= memory.max_bytes


def test_who_asks_for_days_alone_pays_for_no_minutes(sample_dir: Path) -> None:
    """No engine is imported, and none of what minutes are stored by."""
    code = f"""
import sys
from tests.server import make_settings, serve_app
from api.main import create_app
from pathlib import Path
from fastapi.testclient import TestClient
with TestClient(create_app(make_settings(Path({str(sample_dir)!r}))), "http://127.0.0.1") as client:
    assert client.get("/instruments/AAPL/ohlcv?limit=2").status_code == 200
    assert client.get("/instruments/AAPL").json()["intervals"] == []
found = [name for name in sys.modules if name.startswith(("clickhouse", "psycopg", "chdb"))]
print([*found, *(n for n in sys.modules if n.startswith("etl.contracts.minutes"))])
"""
    done = run_stage("-W", "ignore", "-c", code, env=clean_environ(sample_dir))
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
