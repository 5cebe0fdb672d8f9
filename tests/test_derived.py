"""Provisional bars, gaps, notes and instruments: kept in step by every load, as one load would."""

import argparse
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from etl import extract, load, transform, verify
from etl.__main__ import bring_in_step
from etl.base import run_records
from etl.base.errors import InputError
from etl.market.sessions import last_closed_session
from etl.settings import Settings, read_settings
from tests.conftest import Bar, call_stage, make_bars, query_store, read_bars
from tests.server import read_json, serve
from tests.stores import (
    Answer,
    list_sessions,
    load_answer,
    load_file,
    make_answer,
    store_of,
    write_store,
)

CLOSED = "2020-05-08T20:00:00"  # of the session of that day in New York, in UTC
AT_14_07 = "2020-05-08T18:07:03"
LATER = "2024-06-03T12:00:00"
NEXT_DAY = "2020-05-09T00:15:00"
SEEN: Bar = ("IBM", "2020-05-08", 121.79, 2_538_547)
FINAL: Bar = ("IBM", "2020-05-08", 122.99, 5_002_300)


def read_notes(data_dir: Path, reason: str = "%") -> list[tuple[Any, ...]]:
    return query_store(
        store_of(data_dir),
        f"""SELECT symbol, strftime(timestamp, '%Y-%m-%d'), reason, detail FROM bar_notes
        WHERE reason LIKE '{reason}' ORDER BY ALL""",
    )


def read_gaps(data_dir: Path) -> list[tuple[str, str, str]]:
    return query_store(
        store_of(data_dir),
        "SELECT symbol, strftime(session, '%Y-%m-%d'), cause FROM gaps ORDER BY ALL",
    )


# Provisional


def test_a_bar_fetched_before_its_session_closed_is_provisional_until_the_final_one_comes(
    data_dir: Path,
) -> None:
    load_answer(data_dir, AT_14_07, SEEN)
    detail = "fetched at 2020-05-08 18:07:03 UTC, before the close at 2020-05-08 20:00:00"
    assert read_notes(data_dir) == [("IBM", "2020-05-08", "provisional", detail)]
    assert load_answer(data_dir, NEXT_DAY, FINAL)["revised"] == 1
    assert read_notes(data_dir) == []
    assert [row[5] for row in read_bars(store_of(data_dir))] == [122.99]


def test_a_provisional_bar_is_settled_by_an_equal_answer_too(data_dir: Path) -> None:
    load_answer(data_dir, AT_14_07, SEEN)
    record = load_answer(data_dir, NEXT_DAY, SEEN)
    assert (record["unchanged"], record["revised"]) == (1, 0)
    assert record["generation"].startswith("2-")
    assert read_notes(data_dir) == []


@pytest.mark.parametrize("closes", [121.79, 122.1])
def test_a_later_answer_before_the_close_leaves_the_bar_provisional(
    data_dir: Path, closes: float
) -> None:
    load_answer(data_dir, AT_14_07, SEEN)
    load_answer(data_dir, "2020-05-08T19:59:59", ("IBM", "2020-05-08", closes, 2_538_547))
    assert [row[2] for row in read_notes(data_dir)] == ["provisional"]


def test_a_provisional_answer_that_comes_after_the_final_one_is_stale(data_dir: Path) -> None:
    load_answer(data_dir, NEXT_DAY, FINAL)
    assert load_answer(data_dir, AT_14_07, SEEN)["stale"] == 1
    assert read_notes(data_dir) == []


@pytest.mark.parametrize(
    ("day", "close"),
    [
        pytest.param("2020-05-08", "20:00:00", id="summer", marks=pytest.mark.long),
        pytest.param("2019-12-24", "18:00:00", id="early close"),
        pytest.param("2019-12-26", "21:00:00", id="winter", marks=pytest.mark.long),
    ],
)
def test_a_bar_is_final_from_the_very_close_of_its_session(
    data_dir: Path, day: str, close: str
) -> None:
    second_before = f"{close[:1]}{int(close[1:2]) - 1}:59:59" if close[1] != "0" else "19:59:59"
    load_answer(data_dir, f"{day}T{second_before}", ("A", day, 5.0))
    load_answer(data_dir, f"{day}T{close}", ("B", day, 5.0))
    assert [(row[0], row[2]) for row in read_notes(data_dir)] == [("A", "provisional")]


def test_a_sessions_close_is_that_of_the_symbols_own_exchange(data_dir: Path) -> None:
    day, at = "2020-05-07", "2020-05-07T16:00:00"  # London closed at 15:30 UTC, Tokyo at 06:00
    symbols = ["BTC-USD", "IBM", "RR.L", "7203.T"]
    load_answer(data_dir, at, *((symbol, day, 5.0) for symbol in symbols))
    assert [row[0] for row in read_notes(data_dir, "provisional")] == ["BTC-USD", "IBM"]
    found = query_store(store_of(data_dir), "SELECT symbol, exchange FROM instruments ORDER BY 1")
    assert found == [("7203.T", "XTKS"), ("BTC-USD", "24/7"), ("IBM", "XNYS"), ("RR.L", "XLON")]


def test_coverage_says_which_bars_are_provisional(data_dir: Path) -> None:
    load_answer(data_dir, AT_14_07, ("IBM", "2020-05-07", 121.23), SEEN)
    with serve(data_dir) as client:
        said = read_json(client, "/instruments/IBM/coverage")
    assert said["provisional"] == ["2020-05-08"]


# Prices and volumes that mean something else elsewhere


SIGNED = ["CL=F", "CLK20", "ZN=F", "NG.F", "^IRX", "US03M", "T10Y2Y", "CL1-CL2", "NYM-WTI.SPREAD"]
SHARES = ["IBM", "BRK.B", "SAP.F", "^GSPC", "BTC-USD", "EURUSD", "7203.T", "005930"]


def test_a_price_of_zero_or_below_is_kept_with_a_note_where_it_may_be_real(data_dir: Path) -> None:
    load_answer(data_dir, LATER, *((symbol, "2020-04-20", -37.63) for symbol in SIGNED))
    assert [row[:3] for row in read_notes(data_dir, "not positive")] == [
        (symbol, "2020-04-20", "not positive") for symbol in sorted(SIGNED)
    ]
    for symbol in SHARES:
        with pytest.raises(InputError, match="1 rows with not positive"):
            load_answer(data_dir, LATER, (symbol, "2020-04-20", -0.01))


def test_further_symbols_that_may_be_negative_can_be_named(data_dir: Path) -> None:
    named = {"SIGNED_SYMBOLS": "CARRY,ARB.*"}
    load_answer(data_dir, LATER, ("CARRY", "2024-01-02", -1.0), ("ARB.1", "2024-01-02", 0), **named)
    with pytest.raises(InputError, match="ARBX"):
        load_answer(data_dir, LATER, ("ARBX", "2024-01-02", -1.0), **named)


def test_no_volume_is_noted_where_vendors_never_give_one(data_dir: Path) -> None:
    symbols = ["EURUSD", "JPY=X", "^FTSE", "IBM", "BTC-USD", "OPAP.AT"]
    load_answer(data_dir, LATER, *((symbol, "2024-01-02", 5.0, 0) for symbol in symbols))
    noted = {row[0] for row in read_notes(data_dir, "zero volume")}
    assert noted == {"IBM", "BTC-USD", "OPAP.AT"}


# Gaps


def load_days(data_dir: Path, *days: str, at: str = LATER, symbol: str = "X") -> None:
    load_answer(data_dir, at, *((symbol, day, 5.0) for day in days))


def test_a_session_without_a_bar_is_a_gap_until_its_bar_comes(data_dir: Path) -> None:
    load_days(data_dir, "2024-01-02", "2024-01-05")
    assert read_gaps(data_dir) == [
        ("X", "2024-01-03", "not delivered"),
        ("X", "2024-01-04", "not delivered"),
    ]
    load_days(data_dir, "2024-01-03")
    assert read_gaps(data_dir) == [("X", "2024-01-04", "not delivered")]
    load_days(data_dir, "2024-01-04")
    assert read_gaps(data_dir) == []


def test_weekends_holidays_and_early_closes_are_no_gaps(data_dir: Path) -> None:
    days = {
        # the 4th of July, and the session before it, which closed early; then a weekend
        "X": ["2023-07-03", "2023-07-05", "2023-07-06", "2023-07-07", "2023-07-10"],
        # London was shut on the 2nd and 3rd; Wall Street was not
        "RR.L": ["2022-06-01", "2022-06-06"],
        "IBM": ["2022-06-01", "2022-06-06"],
        # a coin trades on Saturdays
        "BTC-USD": ["2024-01-05", "2024-01-08"],
    }
    load_answer(data_dir, LATER, *((s, day, 5.0) for s, listed in days.items() for day in listed))
    assert read_gaps(data_dir) == [
        ("BTC-USD", "2024-01-06", "not delivered"),
        ("BTC-USD", "2024-01-07", "not delivered"),
        ("IBM", "2022-06-02", "not delivered"),
        ("IBM", "2022-06-03", "not delivered"),
    ]


def test_an_early_close_without_its_bar_is_a_gap(data_dir: Path) -> None:
    load_days(data_dir, "2023-06-30", "2023-07-05")
    assert read_gaps(data_dir) == [("X", "2023-07-03", "not delivered")]


def test_closed_sessions_behind_the_last_bar_are_not_yet_published(data_dir: Path) -> None:
    load_days(data_dir, "2024-05-28", at="2024-05-31T20:00:00")  # the very close of the 31st
    load_days(data_dir, "2024-05-28", at="2024-05-31T19:59:59", symbol="Y")
    load_days(data_dir, "2024-04-01", at="2024-05-31T20:00:00", symbol="ENDED")
    late = [(s, f"2024-05-{d}", "not yet published") for s, d in (("X", 29), ("X", 30), ("X", 31))]
    assert read_gaps(data_dir) == [*late, *(("Y", *row[1:]) for row in late[:2])]
    load_days(data_dir, "2024-05-31", at="2024-06-03T12:00:00")
    assert [row for row in read_gaps(data_dir) if row[0] == "X"] == [
        ("X", "2024-05-29", "not delivered"),
        ("X", "2024-05-30", "not delivered"),
    ]


def test_new_first_and_last_bars_open_the_gaps_between(data_dir: Path) -> None:
    load_days(data_dir, "2024-01-10")
    load_days(data_dir, "2024-01-08")
    load_days(data_dir, "2024-01-12")
    assert read_gaps(data_dir) == [
        ("X", "2024-01-09", "not delivered"),
        ("X", "2024-01-11", "not delivered"),
    ]


def test_the_sample_has_no_gap_between_its_bars(sample_dir: Path) -> None:
    assert [row for row in read_gaps(sample_dir) if row[2] != "not yet published"] == []


def test_the_bar_of_another_symbol_does_not_fill_a_gap(data_dir: Path) -> None:
    bars = [("X", "2024-01-02"), ("X", "2024-01-04"), ("X", "2024-01-05")]
    others = [("Y", "2024-01-02"), ("Y", "2024-01-03"), ("Y", "2024-01-05")]
    load_answer(data_dir, LATER, *((*bar, 5.0) for bar in bars + others))
    wanted = [("X", "2024-01-03", "not delivered"), ("Y", "2024-01-04", "not delivered")]
    assert read_gaps(data_dir) == wanted


def test_a_bar_on_a_day_without_a_session_does_not_hide_a_gap(data_dir: Path) -> None:
    load_days(data_dir, "2024-01-02", "2024-01-04", "2024-01-06", "2024-01-08")  # a Saturday
    assert read_gaps(data_dir) == [
        ("X", "2024-01-03", "not delivered"),
        ("X", "2024-01-05", "not delivered"),
    ]
    load_days(
        data_dir, "2024-01-03", "2024-01-05", "2024-01-13", "2024-01-16"
    )  # Martin Luther King
    assert read_gaps(data_dir) == [
        ("X", f"2024-01-{day:02}", "not delivered") for day in (9, 10, 11, 12)
    ]


def test_the_first_and_the_last_bar_count_for_no_session_between(data_dir: Path) -> None:
    load_days(data_dir, "2024-01-02", "2024-01-04")
    load_days(data_dir, "2023-12-28", "2024-01-08")
    assert read_gaps(data_dir) == [
        ("X", day, "not delivered") for day in ("2023-12-29", "2024-01-03", "2024-01-05")
    ]


def run_stages(data_dir: Path, *rows: str, more: str = "") -> None:
    """The three stages, of one CSV file."""
    inbox = data_dir.parent / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / "X.csv").write_text(
        "\n".join((f"Date,Open,High,Low,Close,Volume{more}", *rows)) + "\n"
    )
    assert call_stage(extract.main, "--source", "files", "--path", inbox) == 0
    assert call_stage(transform.main) == 0
    assert call_stage(load.main) == 0


def test_a_session_whose_row_was_rejected_is_a_gap_that_says_so(data_dir: Path) -> None:
    bad = "2024-01-03,5,4,6,5,7"  # high below low
    run_stages(data_dir, "2024-01-02,5,6,4,5,7", bad, "2024-01-05,5,6,4,5,7")
    assert read_gaps(data_dir)[:2] == [
        ("X", "2024-01-03", "rejected"),
        ("X", "2024-01-04", "not delivered"),
    ]


@pytest.mark.long
def test_a_rejected_session_behind_the_last_bar_stays_one_gap_when_later_bars_come(
    data_dir: Path,
) -> None:
    day = list_last_days()
    bad = f"{day[1]},5,4,6,5,7"
    run_stages(data_dir, f"{day[0]},5,6,4,5,7", bad)
    assert read_gaps(data_dir)[0] == ("X", day[1], "rejected")
    run_stages(data_dir, f"{day[0]},5,6,4,5.5,7", bad)
    assert [row for row in read_gaps(data_dir) if row[1] == day[1]] == [("X", day[1], "rejected")]
    run_stages(data_dir, f"{day[2]},5,6,4,5,7")
    assert [row for row in read_gaps(data_dir) if row[1] == day[1]] == [("X", day[1], "rejected")]
    run_stages(data_dir, f"{day[1]},5,6,4,5,7")
    assert [row for row in read_gaps(data_dir) if row[1] == day[1]] == []


def list_last_days() -> list[str]:
    """The last three sessions that have surely closed."""
    last = last_closed_session("XNYS", datetime.now(UTC))
    return [str(day) for day in list_sessions("XNYS", last - timedelta(days=14), last)[-3:]]


# One load or many


def draw_bars(chance: random.Random, symbol: str, days: list[str]) -> list[Bar]:
    """A walk with what the notes are about: spikes, another unit, repeats, no volume, holes."""
    price, bars = 50.0, []
    unit = 1
    for day in days:
        price = round(price * chance.uniform(0.97, 1.03), 2)
        what = chance.random()
        if what < 0.02:
            unit = {1: 100, 100: 1}[unit]
        value = price * unit * (3 if 0.02 < what < 0.04 else 1)
        if what < 0.93:
            bars.append((symbol, day, value, 0 if 0.04 < what < 0.06 else 1000))
        if 0.06 < what < 0.08:
            bars[-1:] = [(symbol, day, 50.0, 7)]
    return bars


def read_derived(data_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Notes (but for who wrote them), gaps and instruments."""
    return {
        "notes": read_notes(data_dir),
        "gaps": read_gaps(data_dir),
        "instruments": query_store(
            store_of(data_dir), "SELECT * EXCLUDE (version) FROM instruments ORDER BY symbol"
        ),
    }


@pytest.mark.long
def test_loads_in_random_pieces_give_the_notes_gaps_and_instruments_of_one_load(
    data_dir: Path, tmp_path: Path
) -> None:
    days = [str(day) for day in list_sessions("XNYS", date(2021, 1, 4), date(2021, 12, 30))]
    chance = random.Random(5)
    bars = [
        bar
        for symbol in ("AAA", "BBB", "CC.L", "DD.T", "EEE-USD")
        for bar in draw_bars(chance, symbol, days)
    ]
    at = "2022-07-01T03:00:00"
    load_file(tmp_path / "whole", make_answer(tmp_path / "whole.parquet", (at, bars)))
    wanted = read_derived(tmp_path / "whole")
    assert {row[2] for row in wanted["notes"]} > {"zero volume", "outside sessions"}
    assert len(wanted["gaps"]) > 50

    for number, pieces in enumerate((cut_anyhow(chance, bars, 3), cut_by_day(chance, bars, 4))):
        for piece in pieces:
            load_answer(tmp_path / f"pieces{number}" / "data", at, *piece)
        found = read_derived(tmp_path / f"pieces{number}" / "data")
        for name, rows in wanted.items():
            assert found[name] == rows, (number, name)


@pytest.mark.long
def test_a_symbol_with_a_bar_a_month_is_judged_as_one_load_would(
    data_dir: Path, tmp_path: Path
) -> None:
    chance = random.Random(11)
    days = [f"{year}-{month:02}-02" for year in range(1990, 2020) for month in range(1, 13)]
    bars = draw_bars(chance, "SPARSE", days)
    daily = [str(day) for day in list_sessions("XNYS", date(2018, 1, 2), date(2019, 12, 2))]
    bars += draw_bars(chance, "DAILY", daily)
    at = "2022-07-01T03:00:00"
    load_file(tmp_path / "whole", make_answer(tmp_path / "whole.parquet", (at, bars)))
    wanted = read_derived(tmp_path / "whole")["notes"]
    assert len({row[2] for row in wanted if row[0] == "SPARSE"}) > 3
    for piece in cut_by_day(chance, bars, 5):
        load_answer(data_dir, at, *piece)
    assert read_derived(data_dir)["notes"] == wanted


def cut_anyhow(chance: random.Random, bars: list[Bar], count: int) -> list[list[Bar]]:
    pieces: list[list[Bar]] = [[] for _ in range(count)]
    for bar in bars:
        chance.choice(pieces).append(bar)
    return pieces


def cut_by_day(chance: random.Random, bars: list[Bar], count: int) -> list[list[Bar]]:
    """Spans of days that follow one another, but come in any order."""
    days = sorted({bar[1] for bar in bars})
    bounds = ["", *sorted(chance.sample(days, count - 1)), "9"]
    pieces = [[b for b in bars if bounds[i] <= b[1] < bounds[i + 1]] for i in range(count)]
    chance.shuffle(pieces)
    return pieces


def test_notes_that_no_longer_hold_go_and_those_that_hold_keep_their_run(data_dir: Path) -> None:
    bars: list[Bar] = [("X", f"2024-01-{day:02}", 5.0 + day / 10, day % 3) for day in (2, 3, 4, 5)]
    load_answer(data_dir, LATER, *bars)  # no share was traded on the 3rd
    [[run_id]] = query_store(store_of(data_dir), "SELECT run_id FROM bar_notes")
    load_answer(data_dir, "2024-06-04", ("X", "2024-01-08", 5.8, 0))
    found = query_store(
        store_of(data_dir), "SELECT strftime(timestamp, '%d'), run_id FROM bar_notes ORDER BY 1"
    )
    assert found[0] == ("03", run_id)
    assert (found[1][0], found[1][1] != run_id) == ("08", True)
    load_answer(data_dir, "2024-06-05", ("X", "2024-01-03", 5.3, 9))
    assert [row[1] for row in read_notes(data_dir)] == ["2024-01-08"]


def test_a_split_that_comes_later_takes_back_the_note_on_its_jump(data_dir: Path) -> None:
    days = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9, 10, 11, 12, 16)]
    prices = [40 + i / 10 for i in range(5)] + [20 + i / 10 for i in range(5)]
    rows = [f"{d},{p},{p + 1},{p - 1},{p},1000" for d, p in zip(days, prices, strict=True)]
    run_stages(data_dir, *rows)
    assert [row[1] for row in read_notes(data_dir, "%split%")] == ["2024-01-09"]
    rows[5] += ",2"
    run_stages(data_dir, *rows, more=",Stock Splits")
    assert read_notes(data_dir, "%split%") == []


# A database that a user changed


def test_bars_that_a_user_wrote_are_mended_into_the_tables_with_a_warning(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: Answer = (LATER, [("X", "2024-01-02", 5.0), ("X", "2024-01-03", 6.0)])
    load_file(data_dir, make_answer(data_dir / "in.parquet", answers))
    write_store(
        store_of(data_dir),
        "INSERT INTO ohlcv_data VALUES ('2024-01-08', 'X', 7, 8, 6, 7, 9)",
        "INSERT INTO ohlcv_data VALUES ('2024-01-08', 'OWN', 7, 8, 6, 7, NULL)",
    )
    more = make_bars(data_dir / "more.parquet", [("X", "2024-01-05", 5.5), ("X", "2024-01-09", 5)])
    capsys.readouterr()
    assert call_stage(load.main, "--input", more) == 0
    assert "load: another program changed the database; its changes are kept" in (
        capsys.readouterr().err
    )
    found = query_store(store_of(data_dir), "SELECT symbol, bars FROM instruments ORDER BY 1")
    assert found == [("OWN", 1), ("X", 5)]
    assert call_stage(verify.main) == 0, capsys.readouterr().out


ONE_BAR = "INSERT INTO ohlcv_data VALUES ('2024-01-08', 'X', 7, 8, 6, 7, 9)"


REPRICED = ["UPDATE ohlcv_data SET close = 5.5 WHERE timestamp = '2024-01-02'"]
REPLACED = ["DELETE FROM ohlcv_data WHERE timestamp = '2024-01-03'", ONE_BAR]
RENAMED = ["UPDATE ohlcv_data SET symbol = 'Z' WHERE symbol = 'Y'"]
EMPTIED = ["UPDATE ohlcv_data SET volume = NULL"]


@pytest.mark.parametrize(
    ("queries", "has_news"),
    [
        (REPLACED, False),
        *(
            pytest.param(queries, has_news, marks=pytest.mark.long)
            for queries, has_news in (
                *((REPRICED, True), (REPRICED, False), (REPLACED, True)),
                *((RENAMED, False), (RENAMED, True)),
                *((EMPTIED, False), (EMPTIED, True)),
            )
        ),
    ],
)
def test_values_that_a_user_changed_are_in_step_after_the_next_load(
    data_dir: Path, queries: list[str], has_news: bool
) -> None:
    bars = [("X", "2024-01-02", 5.0), ("X", "2024-01-03", 6.0), ("Y", "2024-01-02", 5.0)]
    load_answer(data_dir, LATER, *bars)
    write_store(store_of(data_dir), *queries)
    assert call_stage(verify.main) == 1
    news = ("W", "2024-01-02", 5.0)
    first = load_answer(data_dir, LATER, *((news,) if has_news else ()))
    assert call_stage(verify.main) == 0
    assert first["generation"].startswith("2-")
    assert "generation" not in load_answer(data_dir, LATER, *((news,) if has_news else ()))


def test_what_was_said_of_bars_that_a_user_deleted_goes_with_them(data_dir: Path) -> None:
    load_answer(data_dir, LATER, ("X", "2024-01-02", 5.0, 0), ("X", "2024-01-03", 6.0, 1))
    load_answer(data_dir, "2024-06-04", ("X", "2024-01-02", 5.5, 0))
    write_store(store_of(data_dir), "DELETE FROM ohlcv_data WHERE timestamp = '2024-01-02'")
    load_answer(data_dir, "2024-06-05", ("X", "2024-01-04", 5.0))
    assert read_notes(data_dir) == []
    assert call_stage(verify.main) == 0


# A calendar that was corrected


def read_all(data_dir: Path) -> list[list[tuple[Any, ...]]]:
    notes = "SELECT symbol, timestamp, reason, detail FROM bar_notes ORDER BY ALL"
    named = "SELECT symbol, exchange FROM instruments ORDER BY ALL"
    gaps = "FROM gaps ORDER BY ALL"
    return [query_store(store_of(data_dir), query) for query in (notes, named, gaps)]


@pytest.mark.long
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("XLON", "XNYS"),
        *(
            pytest.param(*pair, marks=pytest.mark.long)
            for pair in (("XNYS", "24/7"), ("24/7", "XTKS"))
        ),
    ],
)
def test_a_corrected_exchange_gives_the_gaps_and_notes_of_a_store_that_never_had_the_other(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, right: str
) -> None:
    days = list_sessions("XLON", date(2020, 4, 1), date(2020, 6, 30))[::2]
    bars: list[Bar] = [("IBM", str(day), 50.0 + n % 7) for n, day in enumerate(days)]
    bars += [("IBM", "2020-05-09", 52.0), ("IBM", "2020-07-06", 51.0), ("VOD.L", "2020-05-06", 5.0)]
    path = make_answer(tmp_path / "bars.parquet", ("2020-07-06T18:00:00", bars))
    found = {}
    for folder, names in (("corrected", (wrong, right)), ("right", (right,))):
        monkeypatch.setenv("DATA_DIR", str(tmp_path / folder))
        for name in names:
            monkeypatch.setenv("EXCHANGE", name)
            assert call_stage(load.main, "--input", path) == 0
        assert call_stage(verify.main) == 0
        found[folder] = read_all(tmp_path / folder)
    assert found["corrected"] == found["right"]
    gone = query_store(store_of(tmp_path / "corrected"), "SELECT reason FROM bar_note_revisions")
    assert (("outside sessions",) in gone) == (wrong != "24/7")
    generation = query_store(store_of(tmp_path / "right"), "FROM generation")
    assert call_stage(load.main, "--input", path) == 0
    assert query_store(store_of(tmp_path / "right"), "FROM generation") == generation


def test_a_run_to_which_nothing_comes_follows_a_corrected_exchange(
    data_dir: Path, tmp_path: Path
) -> None:
    bars = [("IBM", day, 5.0) for day in ("2020-05-07", "2020-05-11")]  # the 8th: no day in London
    make_answer(data_dir / "clean_data.parquet", ("2020-05-12T01:00:00", bars))
    load_file(data_dir, data_dir / "clean_data.parquet", EXCHANGE="XLON")
    assert read_gaps(data_dir) == []
    options = {"DATA_DIR": str(data_dir), "EXCHANGE": "XNYS"}
    settings = read_settings(Settings, options, {}, Path("no .env"))
    bring_in_step(settings, argparse.Namespace(), run_records.open_run(settings))
    assert read_gaps(data_dir) == [("IBM", "2020-05-08", "not delivered")]
    store = store_of(data_dir).read_bytes()
    bring_in_step(settings, argparse.Namespace(), run_records.open_run(settings))
    assert store_of(data_dir).read_bytes() == store


@pytest.mark.long
def test_a_run_to_which_nothing_comes_follows_what_another_program_wrote(data_dir: Path) -> None:
    load_answer(data_dir, "2024-01-09T22:00:00", *(("IBM", f"2024-01-0{d}", 5.0) for d in (4, 8)))
    (data_dir / "clean_data.parquet").write_bytes(b"of a run that failed")
    gone = "DELETE FROM ohlcv_data WHERE timestamp = '2024-01-04'"
    write_store(
        store_of(data_dir),
        gone,
        "INSERT INTO ohlcv_data VALUES ('2024-01-02', 'IBM', 5, 6, 4, 5, 7)",
    )
    assert call_stage(verify.main) == 1
    settings = read_settings(Settings, {"DATA_DIR": str(data_dir)}, {}, Path("no .env"))
    bring_in_step(settings, argparse.Namespace(), run_records.open_run(settings))
    assert query_store(store_of(data_dir), "SELECT bars FROM instruments") == [(2,)]
    missing = [("IBM", f"2024-01-0{day}", "not delivered") for day in (3, 4, 5)]
    assert read_gaps(data_dir) == missing
    (data_dir / "clean_data.parquet").unlink()
    assert call_stage(verify.main) == 0
