"""Coverage, notes, revisions, runs, and bars as they were known once: over HTTP."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import httpx
import pytest
from pydantic import BaseModel

from api import models
from api.models.quality import Sessions
from api.store.runs import hide_folders
from etl import load, transform
from etl.__main__ import main as run_etl
from tests.conftest import Bar, call_stage, clean_environ, make_bars, read_record
from tests.restated import ANSWERS
from tests.server import check_answer, forbid_more, read_json, serve, walk_pages

IBM = "/instruments/IBM"
FIRST, SECOND, THIRD = ANSWERS  # when each answer was fetched
WEEK = ("2020-01-06", "2020-01-07", "2020-01-08", "2020-01-09", "2020-01-10")


@pytest.fixture(scope="module")
def client(restated_dir: Path) -> Iterator[httpx.Client]:
    with serve(restated_dir) as client:
        yield client


@pytest.fixture(scope="module")
def busy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two symbols: each bar has a note or two, and was revised twice."""
    folder = tmp_path_factory.mktemp("busy")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(folder).items():
            patch.setenv(name, value)
        days = (*WEEK, "2020-01-11")  # a Saturday
        for rise, hour in (
            (0, "2020-02-01T10:00"),
            (1, "2020-02-01T11:00"),
            (2, "2020-02-02T10:00"),
        ):
            closes = [5 + rise + place / 10 for place in range(len(days))]
            bars = [(s, d, c, 0) for s in ("A", "B") for d, c in zip(days, closes, strict=True)]
            load_bars(folder, bars, fetched_at=hour)
    return folder


@pytest.fixture(scope="module")
def busy(busy_dir: Path) -> Iterator[httpx.Client]:
    with serve(busy_dir) as client:
        yield client


def load_bars(data_dir: Path, bars: Sequence[Bar], **extra: str) -> str:
    """Publish bars from a file of their own; returns the id of the run."""
    path = make_bars(data_dir / "inbox" / "bars.parquet", bars, **extra)
    assert call_stage(load.main, "--input", path) == 0
    run_id: str = read_record(data_dir)["run_id"]
    return run_id


def read_column(client: httpx.Client, url: str, name: str) -> list[Any]:
    return [row[name] for row in read_json(client, url)["data"]]


def as_known(client: httpx.Client, instant: str, query: str = "") -> dict[str, float]:
    """Day → close, as known at an instant."""
    url = f"{IBM}/ohlcv?as_of={quote(instant)}{query}"
    return {bar["timestamp"]: bar["close"] for bar in read_json(client, url)["data"]}


# Every route


@pytest.mark.parametrize(
    ("url", "model"),
    [
        (IBM, models.Instrument),
        (f"{IBM}/ohlcv?as_of=2020-05-08T20:00:00Z", models.BarsPage),
        (f"{IBM}/ohlcv?quality=strict", models.BarsPage),
        (f"{IBM}/ohlcv?as_of=2020-05-08T20:00:00Z&quality=strict&limit=1", models.BarsPage),
        (f"{IBM}/coverage", models.Coverage),
        ("/coverage", models.CoveragesPage),
        (f"{IBM}/notes", models.NotesPage),
        (f"{IBM}/revisions", models.RevisionsPage),
        (f"{IBM}/corporate-actions", models.ActionsPage),
        ("/etl/runs", models.RunsPage),
    ],
)
def test_answers_have_the_documented_fields_and_no_other(
    client: httpx.Client, url: str, model: type[BaseModel]
) -> None:
    answer = read_json(client, url)
    check_answer(answer, model)
    assert answer.get("data") != []


def test_each_run_has_the_documented_fields_and_no_other(client: httpx.Client) -> None:
    for row in read_json(client, "/etl/runs")["data"]:
        run = read_json(client, f"/etl/runs/{row['run_id']}")
        check_answer(run, models.Run)
        assert row.items() <= run.items()


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7, 11, 12, 13, 50_000])
@pytest.mark.parametrize(
    ("url", "rows"),
    [
        ("/instruments/a/notes?", 7),
        ("/instruments/a/notes?start=2020-01-07&end=2020-01-11&", 6),
        ("/instruments/a/revisions?", 12),
        ("/instruments/a/revisions?start=2020-01-07&end=2020-01-09&", 6),
        ("/etl/runs?", 3),
        ("/coverage?", 2),
        ("/coverage?q=b&", 1),
    ],
)
def test_pages_give_each_row_once(busy: httpx.Client, url: str, rows: int, limit: int) -> None:
    whole = read_json(busy, url.rstrip("?&"))
    assert (whole["count"], whole["next"]) == (rows, None)
    pages = list(walk_pages(busy, f"{url}limit={limit}"))
    assert [row for page in pages for row in page["data"]] == whole["data"]
    assert len({json.dumps(row) for row in whole["data"]}) == rows
    assert len(pages) == -(-rows // limit)
    assert all(page["count"] == len(page["data"]) for page in pages)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_corporate_actions_give_each_once(sample_dir: Path, limit: int) -> None:
    with serve(sample_dir) as client:
        pages = list(walk_pages(client, f"/instruments/aapl/corporate-actions?limit={limit}"))
    rows = [row for page in pages for row in page["data"]]
    assert [(row["ex_date"], row["kind"], row["ratio"], row["amount"]) for row in rows] == [
        ("2000-06-21", "split", 2.0, None),
        ("2005-02-28", "split", 2.0, None),
    ]
    assert len(pages) == -(-2 // limit)


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
def test_pages_of_a_run_give_each_symbol_once(sample_dir: Path, limit: int) -> None:
    with serve(sample_dir, MAX_ROWS=6) as client:
        (run,) = read_json(client, "/etl/runs")["data"]
        pages = list(walk_pages(client, f"/etl/runs/{run['run_id']}?limit={limit}"))
        symbols = [row["symbol"] for page in pages for row in page["symbols"]]
        assert symbols == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
        assert len({json.dumps({**page, "next": 0, "symbols": 0}) for page in pages}) == 1
    with serve(sample_dir, MAX_ROWS=2) as client:  # nothing is left out without a word
        assert len(list(walk_pages(client, f"/etl/runs/{run['run_id']}"))) == 3


@pytest.mark.parametrize(
    "url",
    [
        "/instruments/a/notes?limit=2",
        "/instruments/a/revisions?limit=2&start=2020-01-07",
        "/etl/runs?limit=2",
        "/coverage?limit=1",
    ],
)
def test_next_stands_in_the_link_header_too(busy: httpx.Client, url: str) -> None:
    answer = busy.get(url)
    following = answer.json()["next"]
    assert following.startswith(f"?{url.partition('?')[2]}&after=")
    assert answer.headers["link"] == f'<{following}>; rel="next"'


@pytest.mark.parametrize("after", [7, 8, 2**31, 2**53])
def test_behind_the_last_row_is_an_empty_page(busy: httpx.Client, after: int) -> None:
    answer = read_json(busy, f"/instruments/A/notes?after={after}")
    assert (answer["count"], answer["next"], answer["data"]) == (0, None, [])


@pytest.mark.parametrize(
    "path", ["", "/coverage", "/notes", "/revisions", "/corporate-actions", "/ohlcv?quality=strict"]
)
def test_a_symbol_is_found_in_any_case(client: httpx.Client, path: str) -> None:
    upper = client.get(f"{IBM}{path}")
    for symbol in ("ibm", "iBm", "%20ibm%20"):
        assert client.get(f"/instruments/{symbol}{path}").content == upper.content


@pytest.mark.parametrize(
    "url",
    [
        *(f"{IBM}/coverage", f"{IBM}/notes", f"{IBM}/revisions?limit=1", "/etl/runs", "/coverage"),
        *(f"{IBM}/corporate-actions", f"{IBM}/ohlcv?as_of=2020-05-08T20:00:00Z"),
    ],
)
def test_who_has_the_answer_gets_a_304_until_new_data_are_published(
    client: httpx.Client, url: str
) -> None:
    answer, again = client.get(url), client.get(url)
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert (again.headers["x-cache"], again.content) == ("HIT", answer.content)
    unchanged = client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_a_publication_makes_old_answers_unreachable(data_dir: Path) -> None:
    load_bars(data_dir, [("IBM", day, 5.0) for day in WEEK])
    urls = (f"{IBM}/coverage", f"{IBM}/notes", f"{IBM}/revisions", "/etl/runs")
    with serve(data_dir) as client:
        before = [client.get(url) for url in urls]
        load_bars(data_dir, [("IBM", WEEK[1], 6.0, 0), ("IBM", "2020-01-14", 5.0)])
        after = [client.get(url) for url in urls]
    for old, new in zip(before, after, strict=True):
        assert old.headers["etag"] != new.headers["etag"]
        assert old.content != new.content


# Coverage and notes


def test_coverage_accounts_for_every_session(client: httpx.Client) -> None:
    assert read_json(client, f"{IBM}/coverage") == {
        "symbol": "IBM",
        "exchange": "XNYS",
        "calendar": "XNYS",
        "sessions_known_from": None,
        "sessions_known_to": None,
        "first": "2020-04-30",
        "last": "2020-05-11",
        "bars": 6,
        "sessions_expected": 8,
        "sessions_present": 6,
        "bars_outside_sessions": 0,
        "bars_of_unknown_days": 0,
        "gaps": [
            {"session": "2020-05-05", "cause": "rejected"},
            {"session": "2020-05-06", "cause": "not delivered"},
        ],
        "notes": {"open outside range": 1, "provisional": 1},
        "provisional": ["2020-05-11"],
        "next": None,
    }


def test_gaps_come_in_pages_and_are_counted_whole(client: httpx.Client) -> None:
    whole = read_json(client, f"{IBM}/coverage")
    pages = list(walk_pages(client, f"{IBM}/coverage?limit=1"))
    assert [gap for page in pages for gap in page["gaps"]] == whole["gaps"]
    assert [day for page in pages for day in page["provisional"]] == whole["provisional"]
    assert {page["sessions_expected"] for page in pages} == {8}
    assert [len(page["gaps"]) for page in pages] == [1, 1]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("/home/my user/in box/IBM.csv: no column close", "IBM.csv: no column close"),
        ("cannot read '/Volumes/Old Disk/a b/c.parquet'", "cannot read 'c.parquet'"),
        ("~/My Data/x.csv and /mnt/two words/y.csv differ", "x.csv and y.csv differ"),
        ("C:/Users/Some One/z.csv: empty", "z.csv: empty"),
        ("https://example.org/a b/c was asked", "https://example.org/a b/c was asked"),
        ("3 of 4 and/or more; see docs/x", "3 of 4 and/or more; see docs/x"),
    ],
)
def test_folders_are_hidden_also_where_their_names_hold_blanks(told: str, shown: str) -> None:
    assert hide_folders({"failures": {told: [told]}}) == {"failures": {shown: [shown]}}


def test_the_sample_lacks_no_session(sample_dir: Path) -> None:
    with serve(sample_dir) as client:
        for item in read_json(client, "/instruments")["data"]:
            coverage = read_json(client, f"/instruments/{item['symbol']}/coverage")
            assert coverage["sessions_expected"] == coverage["sessions_present"] == item["bars"]
            assert (coverage["gaps"], coverage["notes"], coverage["provisional"]) == ([], {}, [])


def test_a_bar_on_no_session_is_not_counted_as_one(busy: httpx.Client) -> None:
    coverage = read_json(busy, "/instruments/A/coverage")
    assert (coverage["bars"], coverage["sessions_present"]) == (6, 5)
    assert coverage["bars_outside_sessions"] == 1
    assert (coverage["sessions_expected"], coverage["gaps"]) == (5, [])
    assert coverage["notes"] == {"outside sessions": 1, "zero volume": 6}


def test_a_session_that_the_vendor_has_not_yet_published_is_a_gap(data_dir: Path) -> None:
    bars = [("IBM", day, 5.0) for day in WEEK[:4]]
    load_bars(data_dir, bars, fetched_at="2020-01-10T21:30")  # half an hour after the close
    with serve(data_dir) as client:
        coverage = read_json(client, f"{IBM}/coverage")
    assert coverage["gaps"] == [{"session": "2020-01-10", "cause": "not yet published"}]
    assert (coverage["sessions_expected"], coverage["sessions_present"]) == (5, 4)


def test_coverage_of_all_counts_what_the_coverage_of_each_lists(
    client: httpx.Client, busy: httpx.Client
) -> None:
    same = set(Sessions.model_fields)
    for served, symbols in ((client, ["IBM"]), (busy, ["A", "B"])):
        rows = read_json(served, "/coverage")["data"]
        assert [row["symbol"] for row in rows] == symbols
        for row in rows:
            url = f"/instruments/{row['symbol']}"
            one = read_json(served, f"{url}/coverage")
            assert {name: row[name] for name in same} == {name: one[name] for name in same}
            assert row["gaps"] == len(one["gaps"])
            assert row["notes"] == sum(one["notes"].values())
            assert row["provisional"] == len(one["provisional"])
            assert row["revisions"] == read_json(served, f"{url}/revisions")["count"] > 0


def test_coverage_says_where_sessions_are_not_known(data_dir: Path) -> None:
    ahead = [("600000.SS", day, 5.0) for day in ("2020-01-02", "2020-01-03")]
    early = [("7203.T", day, 5.0) for day in ("1996-12-27", "1997-01-06", "1997-01-07")]
    load_bars(data_dir, [*ahead, *early, ("^GSPC", "2020-01-04", 5.0)])
    with duckdb.connect(str(data_dir / "market_data.duckdb")) as store:
        assert store.execute("SELECT exchange FROM calendars ORDER BY ALL").fetchall() == [
            ("XSHG",),
            ("XTKS",),
        ]
        # the installed calendar's end is in the future: one that ended a day earlier
        store.execute("UPDATE calendars SET last = '2020-01-02' WHERE exchange = 'XSHG'")
    names = ("sessions_known_from", "sessions_known_to", "sessions_expected", "sessions_present")
    with serve(data_dir) as client:
        rows = {row["symbol"]: row for row in read_json(client, "/coverage")["data"]}
    found = {
        symbol: (*(row[name] for name in names), row["bars_of_unknown_days"])
        for symbol, row in rows.items()
    }
    assert found["600000.SS"] == (None, "2020-01-02", 1, 1, 1)
    assert found["7203.T"] == ("1997-01-06", None, 2, 2, 1)
    assert found["^GSPC"] == (None, None, None, None, 1)


def test_a_run_says_for_which_reasons_rows_were_rejected(client: httpx.Client) -> None:
    *_, first = read_column(client, "/etl/runs", "run_id")
    stages = read_json(client, f"/etl/runs/{first}")["stages"]
    assert stages["transform"]["reasons"] == {"high below low": 1}


def test_notes_say_what_is_odd_about_a_bar(client: httpx.Client) -> None:
    notes = read_json(client, f"{IBM}/notes")["data"]
    assert [(note["timestamp"], note["reason"]) for note in notes] == [
        ("2020-05-01", "open outside range"),
        ("2020-05-11", "provisional"),
    ]
    assert notes[0]["detail"] == "open 123.1 is not within low 119.8 to high 122.12"
    third, _, first = read_column(client, "/etl/runs", "run_id")
    assert [note["run_id"] for note in notes] == [first, third]


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("start=2020-05-01", ["2020-05-01", "2020-05-11"]),
        ("start=2020-05-02", ["2020-05-11"]),
        ("end=2020-05-11", ["2020-05-01", "2020-05-11"]),
        ("end=2020-05-10", ["2020-05-01"]),
        ("start=2020-05-02&end=2020-05-10", []),
    ],
)
def test_start_and_end_of_notes_are_inclusive(
    client: httpx.Client, query: str, days: list[str]
) -> None:
    assert read_column(client, f"{IBM}/notes?{query}", "timestamp") == days


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("start=2020-05-04&end=2020-05-08", ["2020-05-04", "2020-05-08"]),
        ("start=2020-05-05", ["2020-05-08"]),
        ("end=2020-05-07", ["2020-05-04"]),
    ],
)
def test_start_and_end_of_revisions_are_inclusive(
    client: httpx.Client, query: str, days: list[str]
) -> None:
    assert read_column(client, f"{IBM}/revisions?{query}", "timestamp") == days


# As known then


def test_a_revision_holds_the_old_values_and_the_span_in_which_they_were_known(
    client: httpx.Client,
) -> None:
    revisions = read_json(client, f"{IBM}/revisions")["data"]
    assert [(r["timestamp"], r["volume"], r["known_from"], r["known_to"]) for r in revisions] == [
        ("2020-05-04", 3_927_200, FIRST, THIRD),
        ("2020-05-08", 2_538_547, FIRST, SECOND),
    ]
    assert revisions[1]["close"] == 121.79


@pytest.mark.parametrize(
    ("instant", "bars", "close", "volume"),
    [
        ("2020-05-08T18:07:02.999999Z", 0, None, None),
        (FIRST, 5, 121.79, 3_927_200),
        ("2020-05-08T20:00:00Z", 5, 121.79, 3_927_200),
        ("2020-05-09T00:14:59.999999Z", 5, 121.79, 3_927_200),
        (SECOND, 5, 122.99, 3_927_200),
        ("2020-05-11T18:02:10Z", 5, 122.99, 3_927_200),
        (THIRD, 6, 122.99, 4_012_400),
        ("2099-01-01T00:00:00Z", 6, 122.99, 4_012_400),
    ],
)
def test_as_of_gives_the_bars_as_known_then(
    client: httpx.Client, instant: str, bars: int, close: float | None, volume: int | None
) -> None:
    answer = read_json(client, f"{IBM}/ohlcv?as_of={instant}")
    assert (answer["as_of"], answer["count"]) == (instant, bars)
    known = {bar["timestamp"]: bar for bar in answer["data"]}
    assert known.get("2020-05-08", {}).get("close") == close
    assert known.get("2020-05-04", {}).get("volume") == volume
    assert ("2020-05-11" in known) == (bars == 6)


def test_as_of_now_gives_what_is_given_without_it(client: httpx.Client) -> None:
    now = read_json(client, f"{IBM}/ohlcv")
    assert "as_of" not in now
    assert read_json(client, f"{IBM}/ohlcv?as_of={THIRD}")["data"] == now["data"]


@pytest.mark.parametrize(
    "form",
    [
        "2020-05-08T20:00:00Z",
        "2020-05-08T20:00:00%2B00:00",
        "2020-05-08T22:00:00%2B02:00",
        "2020-05-08T16:00:00-04:00",
        "2020-05-09T01:30%2B05:30",
        "2020-05-08T20:00:00.000Z",
    ],
)
def test_one_instant_in_any_offset_is_one_answer(client: httpx.Client, form: str) -> None:
    answer = read_json(client, f"{IBM}/ohlcv?as_of={form}")
    assert answer == read_json(client, f"{IBM}/ohlcv?as_of=2020-05-08T20:00:00Z")
    assert answer["as_of"] == "2020-05-08T20:00:00Z"


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
@pytest.mark.parametrize("instant", ["2020-05-08T20:00:00Z", "2020-05-08T22:00:00%2B02:00"])
def test_pages_as_of_an_instant_give_each_row_once(
    client: httpx.Client, instant: str, limit: int, order: str
) -> None:
    url = f"{IBM}/ohlcv?as_of={instant}&order={order}"
    pages = list(walk_pages(client, f"{url}&limit={limit}"))
    assert [bar for page in pages for bar in page["data"]] == read_json(client, url)["data"]
    assert {page["as_of"] for page in pages} == {"2020-05-08T20:00:00Z"}
    assert len(pages) == -(-5 // limit)


@pytest.mark.parametrize("view", ["as_of=2020-05-08T20:00:00Z", "quality=strict"])
@pytest.mark.parametrize("query", ["", "&order=desc", "&start=2020-05-04&adjustment=all"])
def test_several_symbols_are_viewed_as_one_is(client: httpx.Client, view: str, query: str) -> None:
    one = read_json(client, f"{IBM}/ohlcv?{view}{query}")
    many = read_json(client, f"/ohlcv?symbols=ibm,xyz&{view}{query}")
    forbid_more(models.ManyBarsPage).model_validate(many)
    assert [bar.pop("symbol") for bar in many["data"]] == ["IBM"] * one["count"]
    told = [name for name in ("as_of", "left_out") if name in one]
    for name in ("data", "count", *told):
        assert many[name] == one[name]
    assert told == ["as_of" if "as_of" in view else "left_out"]
    pages = list(walk_pages(client, f"/ohlcv?symbols=IBM&{view}{query}&limit=2"))
    rows = [{n: v for n, v in bar.items() if n != "symbol"} for p in pages for bar in p["data"]]
    assert rows == one["data"]
    headers = client.get(f"/ohlcv?symbols=IBM&{view}{query}&format=csv").headers
    for name in told:
        assert headers[f"x-{name.replace('_', '-')}"] == str(one[name])


def test_instants_are_shown_to_the_microsecond_so_that_as_of_can_take_them(data_dir: Path) -> None:
    load_bars(data_dir, [("IBM", WEEK[0], 5.0)], fetched_at="2020-02-01T10:00:00.250001")
    load_bars(data_dir, [("IBM", WEEK[0], 6.0)], fetched_at="2020-02-01T10:00:00.500")
    load_bars(data_dir, [("IBM", WEEK[0], 7.0)], fetched_at="2020-02-01T10:00:10")
    with serve(data_dir) as client:
        revisions = read_json(client, f"{IBM}/revisions")["data"]
        assert [(r["close"], r["known_from"], r["known_to"]) for r in revisions] == [
            (5.0, "2020-02-01T10:00:00.250001Z", "2020-02-01T10:00:00.5Z"),
            (6.0, "2020-02-01T10:00:00.5Z", "2020-02-01T10:00:10Z"),
        ]
        for revision in revisions:
            assert as_known(client, revision["known_from"]) == {WEEK[0]: revision["close"]}
        assert as_known(client, revisions[1]["known_to"]) == {WEEK[0]: 7.0}


def test_values_that_were_replaced_at_the_same_instant_were_never_known(data_dir: Path) -> None:
    for close, hour in ((5.0, 10), (6.0, 11), (7.0, 11), (8.0, 11)):
        load_bars(data_dir, [("IBM", WEEK[0], close)], fetched_at=f"2020-02-01T{hour}:00:00")
    with serve(data_dir) as client:
        pages = walk_pages(client, f"{IBM}/revisions?limit=1")
        assert [row["close"] for page in pages for row in page["data"]] == [5.0, 6.0, 7.0]
        assert as_known(client, "2020-02-01T10:59:59Z") == {WEEK[0]: 5.0}
        assert as_known(client, "2020-02-01T11:00:00Z") == {WEEK[0]: 8.0}


def test_bars_as_of_an_instant_are_adjusted_for_the_splits_till_then(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = data_dir / "inbox" / "AAPL.csv"
    file.parent.mkdir()
    file.write_text(
        "date,open,high,low,close,volume,stock splits\n"
        "2020-08-28,504.05,505.77,498.31,499.23,46907500,0\n"
        "2020-08-31,127.58,131.00,126.00,129.04,225702700,4\n"
    )
    monkeypatch.setenv("SOURCE", "files")
    monkeypatch.setenv("SOURCE_PATH", str(file))
    assert call_stage(run_etl) == 0
    load_bars(data_dir, [("AAPL", "2020-08-27", 500.04)], fetched_at="2020-08-28T22:00")
    with serve(data_dir) as client:
        url = "/instruments/AAPL/ohlcv?adjustment=split"
        assert read_column(client, url, "close") == pytest.approx([125.01, 124.8075, 129.04])
        then = read_json(client, f"{url}&as_of=2020-08-30T23:59:59Z")
        assert [(bar["timestamp"], bar["close"]) for bar in then["data"]] == [
            ("2020-08-27", 500.04)  # four for one was not yet
        ]


def test_a_symbol_that_came_later_has_no_bars_then(client: httpx.Client) -> None:
    answer = read_json(client, f"{IBM}/ohlcv?as_of=0001-01-01T00:00:00Z&adjustment=split")
    assert (answer["count"], answer["next"], answer["data"]) == (0, None, [])


# Strict


def test_strict_leaves_out_the_bars_that_have_a_note_and_says_how_many(
    client: httpx.Client,
) -> None:
    whole, strict = (read_json(client, f"{IBM}/ohlcv?quality={q}") for q in ("all", "strict"))
    noted = set(read_column(client, f"{IBM}/notes", "timestamp"))
    assert strict["data"] == [bar for bar in whole["data"] if bar["timestamp"] not in noted]
    assert (strict["left_out"], strict["count"]) == (2, 4)
    assert "left_out" not in whole


@pytest.mark.parametrize(
    ("query", "left_out", "count"),
    [
        ("start=2020-05-01&end=2020-05-01", 1, 0),
        ("start=2020-05-02", 1, 3),
        ("start=2020-05-02&end=2020-05-10", 0, 3),
        ("limit=1", 2, 1),
        ("limit=1&order=desc", 2, 1),
        ("as_of=2020-05-08T20:00:00Z", 2, 3),
    ],
)
def test_left_out_counts_the_range_and_not_the_page(
    client: httpx.Client, query: str, left_out: int, count: int
) -> None:
    answer = read_json(client, f"{IBM}/ohlcv?quality=strict&{query}")
    assert (answer["left_out"], answer["count"]) == (left_out, count)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_strict_pages_give_each_row_once(client: httpx.Client, limit: int, order: str) -> None:
    url = f"{IBM}/ohlcv?quality=strict&order={order}"
    pages = list(walk_pages(client, f"{url}&limit={limit}"))
    assert [bar for page in pages for bar in page["data"]] == read_json(client, url)["data"]
    assert len(pages) == -(-4 // limit)
    assert {page["left_out"] for page in pages} == {2}
    many = walk_pages(client, f"/ohlcv?symbols=IBM&quality=strict&order={order}&limit={limit}")
    assert {page["left_out"] for page in many} == {2}


def test_a_symbol_whose_every_bar_has_a_note_is_strictly_empty(busy: httpx.Client) -> None:
    answer = read_json(busy, "/instruments/A/ohlcv?quality=strict")
    assert (answer["left_out"], answer["count"], answer["next"], answer["data"]) == (6, 0, None, [])


def test_the_sample_is_strict_as_it_is(sample_dir: Path) -> None:
    with serve(sample_dir) as client:
        url = "/instruments/AAPL/ohlcv"
        strict = read_json(client, f"{url}?quality=strict")
        assert strict.pop("left_out") == 0
        assert strict == read_json(client, url)


# Runs


def test_runs_tell_what_became_of_every_row(client: httpx.Client) -> None:
    runs = read_json(client, "/etl/runs")["data"]
    fates = ("received", "inserted", "revised", "unchanged", "stale", "rejected", "out_of_range")
    assert [[run[name] for name in fates] for run in runs] == [
        [3, 1, 1, 1, 0, 0, 0],
        [2, 0, 1, 1, 0, 0, 0],
        [6, 5, 0, 0, 0, 1, 0],
    ]
    for run in runs:
        (symbol,) = read_json(client, f"/etl/runs/{run['run_id']}")["symbols"]
        assert [symbol[name] for name in fates] == [run[name] for name in fates]


def test_runs_are_listed_newest_first_also_within_a_second(data_dir: Path) -> None:
    ids = [load_bars(data_dir, [("IBM", day, 5.0)]) for day in WEEK]
    with serve(data_dir) as client:
        assert read_column(client, "/etl/runs", "run_id") == ids[::-1]
        for limit in (1, 2, 3, 4):
            pages = walk_pages(client, f"/etl/runs?limit={limit}")
            assert [row["run_id"] for page in pages for row in page["data"]] == ids[::-1]


@pytest.mark.parametrize(
    ("after", "count"),
    [("20990101T000000Z-000000", 3), ("zz", 3), ("2", 0), ("19990101T000000Z-000000", 0)],
)
def test_runs_go_on_after_any_id(client: httpx.Client, after: str, count: int) -> None:
    assert read_json(client, f"/etl/runs?after={after}")["count"] == count


def test_failed_and_killed_runs_are_stored_by_the_next_publication(data_dir: Path) -> None:
    assert call_stage(transform.main, "--input", data_dir / "inbox" / "nowhere.csv") == 1
    failed = read_record(data_dir)["run_id"]
    killed = "20200101T000000Z-abcdef"
    stages = {"extract": {"status": "running", "started_at": "2020-01-01T00:00:00.000Z"}}
    record = {"run_id": killed, "stages": stages}
    (data_dir / "runs" / f"{killed}.json").write_text(json.dumps(record))
    good = load_bars(data_dir, [("IBM", WEEK[0], 5.0)])
    with serve(data_dir) as client:
        runs = read_json(client, "/etl/runs")["data"]
        assert {run["run_id"]: run["status"] for run in runs} == {
            good: "ok",
            failed: "failed",
            killed: "killed",
        }
        assert (runs[-1]["run_id"], runs[-1]["finished_at"]) == (killed, None)
        for run in runs:
            check_answer(read_json(client, f"/etl/runs/{run['run_id']}"), models.Run)


def test_a_run_names_files_but_not_where_they_lie(data_dir: Path) -> None:
    assert call_stage(transform.main, "--input", data_dir / "inbox" / "nowhere.csv") == 1
    failed = read_record(data_dir)["run_id"]
    load_bars(data_dir, [("IBM", WEEK[0], 5.0)])
    with serve(data_dir) as client:
        answer = client.get(f"/etl/runs/{failed}")
    error = answer.json()["stages"]["transform"]["error"]
    assert error.startswith("nowhere.csv does not exist: run the stage before")
    assert str(data_dir.parent) not in answer.text


@pytest.mark.parametrize(
    "url",
    ["statistics", "rolling?window=2", "indicators?names=sma:2", "returns"],
)
def test_figures_are_of_the_bars_as_known_at_an_instant(client: httpx.Client, url: str) -> None:
    """The close of 2020-05-08 was 121.79 then, and is 122.99 now."""
    sign = "&" if "?" in url else "?"
    then, now, later = (
        read_json(client, f"{IBM}/{url}{sign}end=2020-05-08{as_of}")
        for as_of in ("&as_of=2020-05-08T20:00:00Z", "", "&as_of=2099")
    )
    for name in ("actions_known_at", "never_asked"):  # of what is known now alone
        now.pop(name, None)
    assert then.pop("as_of") == "2020-05-08T20:00:00Z"
    assert later.pop("as_of").startswith("2099-12-31")
    assert then != now == later
