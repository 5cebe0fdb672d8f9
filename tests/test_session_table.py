"""The table of sessions: those of the calendars, over the bars of the store, written once."""

from datetime import date
from pathlib import Path

import pytest

from etl import load, transform, verify
from etl.market import sessions
from tests.conftest import call_stage, make_bars, query_store
from tests.stores import load_answer, make_older, store_of, write_store

TOKYO = ("7203.T", "2012-01-04", 500.0)
VERIFIED = "each exchange has the sessions of its calendar"


def read_sessions(data: Path, exchange: str) -> list[tuple[object, ...]]:
    query = f"FROM sessions WHERE exchange = '{exchange}' ORDER BY session"
    return query_store(store_of(data), query)


def refuse(name: str) -> sessions.Calendar:
    raise AssertionError(f"the calendar of {name} is built")


def test_a_session_has_its_open_close_and_break_in_utc(data_dir: Path) -> None:
    load_answer(data_dir, "2012-02-01", TOKYO)
    row = next(row for row in read_sessions(data_dir, "XTKS") if row[1] == date(2012, 1, 4))
    assert [f"{instant:%m-%dT%H:%M}" for instant in row[2:]] == [
        *("01-04T00:00", "01-04T06:00"),
        *("01-04T02:30", "01-04T03:30"),
    ]


def test_the_sessions_are_those_of_the_calendar_from_before_the_first_bar_to_its_end(
    data_dir: Path,
) -> None:
    load_answer(data_dir, "2012-02-01", ("X", "2012-01-04", 5.0), TOKYO)
    for exchange in ("XNYS", "XTKS"):
        listed = [row[1] for row in read_sessions(data_dir, exchange)]
        known = sessions.read_calendar(exchange).sessions
        assert listed == [day for day in known if day >= date(2012, 1, 4) - sessions.MARGIN]


def test_a_load_of_bars_within_the_listed_sessions_builds_no_calendar(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_answer(data_dir, "2012-02-01", ("X", "2012-01-04", 5.0))
    before = read_sessions(data_dir, "XNYS")
    monkeypatch.setattr(sessions, "read_calendar", refuse)
    load_answer(data_dir, "2012-02-02", ("X", "2012-01-09", 5.0))
    assert read_sessions(data_dir, "XNYS") == before
    gaps = query_store(store_of(data_dir), "SELECT session FROM gaps ORDER BY ALL")
    assert gaps == [(date(2012, 1, 5),), (date(2012, 1, 6),)]


@pytest.mark.parametrize(
    "change", ["SELECT 1", "UPDATE calendars SET source = 'exchange_calendars 0.1'"]
)
def test_bars_from_earlier_on_and_another_version_of_the_calendars_list_them_anew(
    data_dir: Path, change: str
) -> None:
    load_answer(data_dir, "2012-02-01", ("X", "2012-01-04", 5.0))
    write_store(store_of(data_dir), change, "UPDATE sessions SET open = NULL")
    day = "2012-01-05" if change != "SELECT 1" else "2011-01-05"
    load_answer(data_dir, "2012-02-02", ("X", day, 5.0))
    rows = read_sessions(data_dir, "XNYS")
    assert rows[0][1] <= date.fromisoformat(min(day, "2012-01-04")) - sessions.MARGIN * 0.9
    assert all(row[2] is not None for row in rows)
    [(source,)] = query_store(store_of(data_dir), "SELECT source FROM calendars")
    assert source == sessions.name_source()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("SELECT 1", "ok"),
        ("DELETE FROM sessions WHERE session = '2012-01-04'", "WRONG"),
        *(
            pytest.param(change, "WRONG", marks=pytest.mark.long)
            for change in (
                "UPDATE sessions SET close = close + INTERVAL 1 HOUR",
                "INSERT INTO sessions FROM sessions LIMIT 1",
            )
        ),
    ],
)
def test_verify_finds_sessions_that_are_not_those_of_the_calendar(
    data_dir: Path, capsys: pytest.CaptureFixture[str], change: str, line: str
) -> None:
    load_answer(data_dir, "2012-02-01", ("X", "2012-01-04", 5.0))
    write_store(store_of(data_dir), change)
    call_stage(verify.main)
    assert f"{line:5} {VERIFIED}" in capsys.readouterr().out


def test_a_file_of_the_schema_before_gets_its_sessions_by_the_next_load(data_dir: Path) -> None:
    load_answer(data_dir, "2012-02-01", ("X", "2012-01-04", 5.0))
    listed = read_sessions(data_dir, "XNYS")
    make_older(store_of(data_dir), 3)
    load_answer(data_dir, "2012-02-02", ("X", "2012-01-05", 5.0))
    assert read_sessions(data_dir, "XNYS") == listed
    kept = "SELECT schema_version, interval, bars FROM generation, instruments"
    assert query_store(store_of(data_dir), kept) == [(4, "1d", 2)]
    assert call_stage(verify.main) == 0


def test_a_file_of_another_interval_than_daily_is_refused_and_one_without_it_is_daily(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bars(data_dir / "in.parquet", [("X", "2012-01-04", 5.0)])
    assert call_stage(load.main, "--input", path) == 0
    assert query_store(store_of(data_dir), "SELECT interval FROM instruments") == [("1d",)]
    for interval in ("1m", "1wk"):
        make_bars(path, [("X", "2012-01-05", 5.0)], interval=interval)
        assert call_stage(load.main, "--input", path) == 1
        assert "1 rows with an interval other than 1d: run it" in capsys.readouterr().err
        assert call_stage(transform.main, "--input", path) == 1
        assert f"X has bars of interval {interval}" in capsys.readouterr().err
    make_bars(path, [("X", "2012-01-05", 5.0)], interval="1d")
    assert call_stage(transform.main, "--input", path) == 0
    assert call_stage(load.main) == 0
    assert query_store(store_of(data_dir), "SELECT bars FROM instruments") == [(2,)]
