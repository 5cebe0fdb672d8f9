"""What is stored of minutes, and how whole it is: /instruments, coverage, notes, revisions."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from shutil import copytree

import httpx
import pytest

from api.models import Instrument, InstrumentsPage, NotesPage, RevisionsPage
from api.models.quality import MinuteCoverage
from tests.minute_data import FETCHED, Minutes, fill
from tests.server import check_answer, read_json, serve, walk_pages

# In New York at 14:30 UTC the 11th opens an hour earlier: summer time began on the 10th.
GONE = [datetime(2013, 3, 6, 15, minute) for minute in range(10)]  # noqa: DTZ001
UNASKED = [datetime(2013, 3, 12, 15, minute) for minute in range(4)]  # noqa: DTZ001
IBM = Minutes("IBM", first=date(2013, 3, 4), missing=[*GONE, *UNASKED], source="files")
ASKED = ("IBM", datetime(2013, 3, 4), datetime(2013, 3, 9), "files", FETCHED)  # noqa: DTZ001
NOTES = [
    ("IBM", datetime(2013, 3, 5, 15), "spike", "as if"),  # noqa: DTZ001
    ("IBM", datetime(2013, 3, 5, 15, 1), "spike", "as if"),  # noqa: DTZ001
    ("IBM", datetime(2013, 3, 5, 21, 10), "frozen_price", "late"),  # noqa: DTZ001
]
VOD = Minutes("VOD", "XLON", date(2013, 3, 27), date(2013, 4, 4), source="files")
LATER = Minutes(
    *("IBM", "XNYS", date(2013, 3, 4), date(2013, 3, 4)),
    **{"source": "files", "fetched_at": FETCHED + timedelta(days=1), "shift": 1.0},
)


@pytest.fixture(scope="module")
def client(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data_dir = Path(copytree(sample_dir, tmp_path_factory.mktemp("quality") / "data"))
    fill(data_dir, IBM, VOD, notes=NOTES, spans=[ASKED])
    fill(data_dir, LATER)
    with serve(data_dir) as client:
        yield client


def test_an_instrument_tells_what_is_stored_beside_days(client: httpx.Client) -> None:
    answer = read_json(client, "/instruments/ibm")
    check_answer(answer, Instrument)
    (stored,) = answer["intervals"]
    assert stored["first"] == "2013-03-04T14:00:00Z"
    assert (stored["interval"], stored["synthetic"]) == ("1m", False)
    assert stored["bars"] == 10 * 450 - len(GONE) - len(UNASKED)
    assert read_json(client, "/instruments/AAPL")["intervals"] == []


def test_instruments_that_have_minutes_alone_are_listed_in_their_place(
    client: httpx.Client,
) -> None:
    whole = read_json(client, "/instruments")
    check_answer(whole, InstrumentsPage)
    assert [row["symbol"] for row in whole["data"]] == ["AAPL", "FB", "GOOG", "IBM", "MSFT", "VOD"]
    alone = whole["data"][-1]
    assert (alone["first"], alone["bars"], alone["exchange"]) == (None, 0, "XLON")
    assert alone == read_json(client, "/instruments/VOD")
    pages = list(walk_pages(client, "/instruments?limit=2"))
    assert [row for page in pages for row in page["data"]] == whole["data"]
    assert [row["symbol"] for row in read_json(client, "/instruments?q=O")["data"]] == [
        *("GOOG", "VOD")
    ]


def test_no_trade_is_told_apart_from_not_delivered(client: httpx.Client) -> None:
    answer = read_json(client, "/instruments/IBM/coverage?interval=1m")
    check_answer(answer, MinuteCoverage)
    assert answer["sessions_expected"] == answer["sessions_present"] == 10
    assert answer["bars_expected"] == 10 * 390
    assert answer["no_trade"] == len(GONE)
    assert answer["not_delivered"] == len(UNASKED)
    assert answer["bars_outside_hours"] == 10 * 60
    assert answer["gaps"] == [
        {
            **{"session": "2013-03-12", "bars": 386, "expected": 390},
            **{"no_trade": 0, "not_delivered": 4},
        }
    ]
    assert answer["notes"] == {"frozen_price": 1, "spike": 2}


def test_notes_and_revisions_are_told_by_the_start_of_the_minute(client: httpx.Client) -> None:
    notes = read_json(client, "/instruments/IBM/notes?interval=1min&start=2013-03-05T10:01")
    check_answer(notes, NotesPage)
    assert [note["timestamp"][11:16] for note in notes["data"]] == ["15:01", "21:10"]
    url = "/instruments/IBM/revisions?interval=1m"
    revisions = read_json(client, f"{url}&limit=1")
    check_answer(revisions, RevisionsPage)
    assert revisions["data"][0]["known_to"] == "2026-01-03T03:00:00Z"
    assert sum(page["count"] for page in walk_pages(client, f"{url}&limit=200")) == 450


def test_strict_leaves_out_the_minutes_that_have_a_note(client: httpx.Client) -> None:
    url = "/instruments/IBM/ohlcv?interval=1m&start=2013-03-05&end=2013-03-05"
    whole, strict = (read_json(client, url + more) for more in ("", "&quality=strict"))
    assert (strict["left_out"], strict["count"]) == (2, whole["count"] - 2)
    assert read_json(client, f"{url}&quality=strict&limit=5")["left_out"] == 2
    extended = read_json(client, f"{url}&quality=strict&hours=extended")
    assert extended["left_out"] == 3


def test_minutes_are_told_as_they_were_known(client: httpx.Client) -> None:
    url = "/instruments/IBM/ohlcv?interval=1h&start=2013-03-04&end=2013-03-05"
    then = read_json(client, f"{url}&as_of=2026-01-02T12:00Z")
    now = read_json(client, url)
    assert [bar["close"] for bar in now["data"][:7]] == [
        round(bar["close"] + 1, 2) for bar in then["data"][:7]
    ]
    assert now["data"][7:] == then["data"][7:]
    before = read_json(client, f"{url}&as_of=2026-01-01")
    assert (before["count"], "loaded later" in before["detail"]) == (0, True)
    early = "/instruments/IBM/ohlcv?interval=1h&end=2013-01-01&as_of=2026-01-01"
    assert "detail" not in read_json(client, early)  # there is nothing now either


@pytest.mark.parametrize("resource", ["coverage", "notes", "revisions"])
def test_what_is_not_stored_is_refused_with_what_is(client: httpx.Client, resource: str) -> None:
    for query, status, said in (
        ("interval=5m", 422, "possible are 1s, 1m or 1d"),
        ("interval=1s", 422, "possible are 1m"),
        ("interval=1m&limit=0", 422, "MAX_ROWS"),
    ):
        answer = client.get(f"/instruments/IBM/{resource}?{query}")
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert client.get(f"/instruments/AAPL/{resource}?interval=1m").status_code == 404


def test_coverage_of_all_tells_what_is_stored_beside_days(client: httpx.Client) -> None:
    rows = {row["symbol"]: row for row in read_json(client, "/coverage")["data"]}
    assert [bool(rows[name]["intervals"]) for name in ("AAPL", "IBM")] == [False, True]


def test_health_tells_of_the_minutes_and_of_what_keeps_them_from_being_read(
    client: httpx.Client, sample_dir: Path
) -> None:
    minutes = read_json(client, "/health")["minutes"]
    assert (minutes["fault"], minutes["symbols"]) == (None, 2)
    assert minutes["last"] == "2013-04-04T15:59:00Z"
    with serve(sample_dir) as without:
        assert read_json(without, "/health")["minutes"] is None
    engine = "postgresql://nobody:secret@127.0.0.1:1/none"
    with serve(sample_dir, MINUTE_STORE=engine) as down:
        health = down.get("/health")
        assert (health.json()["status"], "MINUTE_STORE" in health.json()["fault"]) == (
            *("degraded", True),
        )
        answer = down.get("/instruments/AAPL/ohlcv?interval=5m")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "MINUTE_STORE" in answer.json()["detail"]
        assert down.get("/instruments/AAPL").json()["intervals"] == []
        daily = down.get("/instruments/AAPL/ohlcv?limit=1")
        assert daily.status_code == 200
        assert "secret" not in health.text + answer.text + daily.text
