"""A store of minutes that is away, damaged, or published anew while it is read."""

from datetime import date, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest

from api.main import create_app
from api.store.minutes.views import MinuteView
from etl.contracts.minutes import Outdated
from etl.contracts.minutes.engines import Place, open_place
from tests.minute_data import FETCHED, Minutes, build_batch, fill
from tests.minute_stores import load
from tests.postgres_server import run_postgres
from tests.server import make_settings, serve, serve_app, wait_until

MARCH = "/instruments/AAPL/ohlcv?interval=5m&start=2013-03-05&end=2013-03-06"
FEBRUARY = "/instruments/AAPL/ohlcv?interval=5m&start=2013-02-26"
DAILY = "/instruments/AAPL/ohlcv?limit=3"
REAL = Minutes("VOD", "XLON", date(2013, 3, 27), date(2013, 4, 4), source="files", decimals=3)
NOTES = [("AAPL", FETCHED.replace(2013, 3, 5, 15), "spike", "as if")]
SPANS = [("AAPL", FETCHED.replace(2013, 2, 1), FETCHED.replace(2013, 3, 1), "files", FETCHED)]


@pytest.fixture
def data_dir(sample_dir: Path, tmp_path: Path) -> Path:
    return Path(copytree(sample_dir, tmp_path / "data"))


def refused(client: httpx.Client, url: str) -> str:
    """What is said of a question that has no answer now."""
    answer = client.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (
        *(503, "application/problem+json"),
    )
    assert answer.headers["retry-after"]
    return str(answer.json()["detail"])


def test_what_was_read_is_told_while_an_engine_is_away(data_dir: Path) -> None:
    with run_postgres() as server:
        url = server.create()
        store = open_place(Place(data_dir, url))
        load(store, build_batch(Minutes()))
        store.close()
        with serve(data_dir, MINUTE_STORE=url) as client:
            kept = client.get(MARCH).raise_for_status()
            server.stop()
            wait_until(lambda: client.get("/health").json()["status"] == "degraded")
            assert client.get(MARCH).content == kept.content
            assert client.get(MARCH.replace("5m", "1h")).status_code == 200  # of the same columns
            assert "MINUTE_STORE" in refused(client, FEBRUARY)
            assert client.get(DAILY).status_code == 200
            server.start()
            wait_until(lambda: client.get(FEBRUARY).status_code == 200)
            wait_until(lambda: client.get("/health").json()["status"] == "ok")


ASKED = (
    *(MARCH, FEBRUARY, "/instruments/VOD/ohlcv?interval=1m&limit=900", "/instruments/VOD"),
    *("/ohlcv?symbols=VOD,AAPL&interval=1h&adjustment=split", "/instruments?limit=9"),
    *(f"{MARCH}&format={name}" for name in ("csv", "arrow", "parquet")),
    "/instruments/AAPL/ohlcv?interval=1m&start=2013-03-05&end=2013-03-05&quality=strict",
    *(f"/instruments/AAPL/{each}?interval=1m" for each in ("coverage", "notes", "revisions")),
    *("/instruments/AAPL/ohlcv?interval=1h&as_of=2026-01-02T12:00Z", "/coverage"),
    *("/ohlcv/latest?symbols=AAPL,VOD&interval=15m", "/instruments/AAPL/ohlcv?interval=1s"),
)


@pytest.mark.minutes
def test_two_engines_have_the_same_answers_byte_for_byte(data_dir: Path) -> None:
    later = Minutes(shift=1.0, last=date(2013, 2, 27), fetched_at=FETCHED + timedelta(days=1))
    batches = [build_batch(Minutes(), NOTES, SPANS), build_batch(REAL), build_batch(later)]
    with run_postgres() as server:
        answers = []
        for url in ("", server.create()):
            store = open_place(Place(data_dir, url))
            for batch in batches:
                load(store, batch)
            store.close()
            with serve(data_dir, MINUTE_STORE=url) as client:
                answers.append([client.get(each) for each in ASKED])
    files, engine = answers
    assert {each.status_code for each in files} == {200, 422}
    for one, other in zip(files, engine, strict=True):
        assert (one.status_code, mask(one)) == (other.status_code, mask(other)), one.url
    assert [one.headers.get("etag") for one in files if "/instruments/" in str(one.url)] == [
        other.headers.get("etag") for other in engine if "/instruments/" in str(other.url)
    ]


def mask(answer: httpx.Response) -> bytes:
    return answer.content if answer.status_code == 200 else str(answer.json()["detail"]).encode()


def test_a_damaged_file_of_minutes_is_said_and_days_go_on(data_dir: Path) -> None:
    fill(data_dir, Minutes())
    (month,) = (data_dir / "minutes" / "1m").glob("2013-02.*")
    month.chmod(0o644)
    month.write_bytes(month.read_bytes()[:9_000])
    with serve(data_dir) as client:
        assert "make verify" in refused(client, FEBRUARY)
        assert str(data_dir) not in refused(client, FEBRUARY)
        assert client.get(MARCH).status_code == 200
        assert client.get(DAILY).status_code == 200


def test_a_manifest_that_is_none_is_said_and_another_one_is_read(data_dir: Path) -> None:
    fill(data_dir, Minutes())
    manifest = data_dir / "minutes" / "current.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(b"{")
    with serve(data_dir) as client:
        assert "make verify" in refused(client, MARCH)
        assert client.get(DAILY).status_code == 200
        assert client.get("/health").json()["minutes"]["fault"]
        manifest.write_bytes(whole)
        wait_until(lambda: client.get(MARCH).status_code == 200)


def test_what_is_published_anew_while_it_is_read_is_read_anew(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(data_dir, Minutes())
    read, moved = MinuteView.read_series, []

    def replace_once(self: MinuteView, *asked: Any) -> Any:
        if not moved:
            later = Minutes(shift=1.0, fetched_at=FETCHED + timedelta(days=1))
            moved.extend([self.generation, fill(data_dir, later)])
        if self.generation == moved[0]:
            raise Outdated("another generation by now")
        return read(self, *asked)

    monkeypatch.setattr(MinuteView, "read_series", replace_once)
    with serve_app(create_app(make_settings(data_dir))) as client:
        first = client.get(MARCH)
        assert first.status_code == 200
        assert first.headers["x-minute-generation"] == moved[1] != moved[0]
        again = client.get(MARCH)
    assert (again.headers["x-cache"], again.content) == ("HIT", first.content)
    assert again.headers["etag"] == first.headers["etag"]


def test_a_question_that_takes_too_long_ends_by_itself(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not the engine can be stopped: this one cannot."""
    import threading

    fill(data_dir, Minutes())
    let_go = threading.Event()
    monkeypatch.setattr(MinuteView, "read_series", lambda *asked: let_go.wait(100))
    with serve(data_dir, QUERY_TIMEOUT="0.2") as client:
        assert "QUERY_TIMEOUT" in refused(client, MARCH)
        assert client.get(DAILY).status_code == 200
        let_go.set()
