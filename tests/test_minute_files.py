"""Minutes out of the files that people have: their stamps, clocks and intervals."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.sources.files.symbols import read_name
from etl.sources.files.zones import read_zone
from tests.minute_answers import as_intraday, list_starts
from tests.minute_exports import EXACT, EXPORTS, HEAD, Read, lines, write


@pytest.mark.parametrize("maker", EXPORTS)
def test_exports_of_their_makers_are_read_as_they_are(tmp_path: Path, maker: str) -> None:
    name, text, symbol, stamps, zone = EXPORTS[maker]
    read = Read(write(tmp_path, name, text))
    assert read.errors == []
    assert tuple(read.stamps) == stamps
    assert (read.all_of("symbol"), read.all_of("zone")) == (symbol, zone)
    assert (read.all_of("interval"), read.all_of("stamp_is")) == ("1m", "start")
    prices = [float(read.all_of(name)) for name in ("open", "high", "low", "close")]
    assert prices == [10, 12, 9, 11]
    first = 1 + text.split("10,12")[0].replace("10;12", "10,12").count("\n")
    if "10,12" in text:
        assert [row["line"] for row in read.rows] == [first, first + 1]


CLOCKS = {  # a header and a stamp of 9:31 → as it is handed on, and its zone
    ("time", "2024-07-01 09:31-04:00"): ("2024-07-01T09:31:00-04:00", None),
    ("time", "2024-07-01T09:31:00-0400"): ("2024-07-01T09:31:00-04:00", None),
    ("time", "13.07.2024 09:31:00.000 GMT+0200"): ("2024-07-13T09:31:00+02:00", None),
    ("time", "2024-07-01T09:31:00+05:30[Asia/Kolkata]"): ("2024-07-01T09:31:00+05:30", None),
    ("time", "Mon Jul 01 2024 09:31:00 GMT-0400 (EDT)"): ("2024-07-01T09:31:00-04:00", None),
    ("time", "2024-07-01 09:31 EDT"): ("2024-07-01T09:31:00-04:00", None),
    ("time", "20240701T093100Z"): ("2024-07-01T09:31:00Z", None),
    ("time", "2024-07-01 09:31 Asia/Tokyo"): ("2024-07-01T09:31:00", "Asia/Tokyo"),
    ("time", "7/13/2024 9:31 AM"): ("2024-07-13T09:31:00", None),
    ("time", "7/13/2024 12:31 AM"): ("2024-07-13T00:31:00", None),
    ("time", "7/13/2024 12:31:00 p.m."): ("2024-07-13T12:31:00", None),
    ("time", "7/13/2024 9:31 PM America/New_York"): ("2024-07-13T21:31:00", "America/New_York"),
    ("time", "2024-07-01 09:31 CST"): ("2024-07-01 09:31 CST", None),
    ("datetime_utc", "2024-07-01 09:31"): ("2024-07-01T09:31:00Z", None),
    ("timestamp_et", "2024-07-01 09:31"): ("2024-07-01T09:31:00", "America/New_York"),
    ("Time (Europe/London)", "2024-07-01 09:31"): ("2024-07-01T09:31:00", "Europe/London"),
    ("Date/Time (EST)", "2024-07-01 09:31"): ("2024-07-01T09:31:00-05:00", None),
    ("Date et heure", "13/07/2024 09:31"): ("2024-07-13T09:31:00", None),
}


@pytest.mark.parametrize("case", CLOCKS, ids=" ".join)
def test_the_clock_of_a_stamp_is_the_one_that_it_or_its_header_names(
    tmp_path: Path, case: tuple[str, str]
) -> None:
    header, stamp = case
    text = f"{header},open,high,low,close,volume\n" + lines(stamp, stamp.replace("31", "32"))
    read = Read(write(tmp_path, "IBM.csv", text))
    assert (read.stamps[:1], read.all_of("zone")) == ([CLOCKS[case][0]], CLOCKS[case][1])
    assert bool(read.warnings) == ("CST" in stamp)


def test_a_column_may_name_the_zone_of_each_row(tmp_path: Path) -> None:
    head = "symbol,date,time (UTC),tz,open,high,low,close,volume\n"
    rows = ["IBM,2024-07-01,09:31,America/New_York", "VOD.L,2024-07-01,09:32,+0100",
            "X,2024-07-01,09:33,", "Y,2024-07-01,09:34,Mars/Base"]  # fmt: skip
    read = Read(write(tmp_path, "all.csv", head + lines(*rows)))
    assert [(row["timestamp"], row["zone"]) for row in read.rows] == [
        ("2024-07-01T09:31:00", "America/New_York"),
        ("2024-07-01T09:32:00+01:00", None),
        ("2024-07-01T09:33:00Z", None),
        ("2024-07-01 09:34 Mars/Base", None),
    ]
    assert "Mars/Base is not known" in read.warnings[0]


def test_settings_say_what_no_file_does(tmp_path: Path) -> None:
    path = write(tmp_path, "IBM.csv", HEAD + lines("2024-07-01 09:31", "2024-07-01 09:32"))
    read = Read(path, MINUTES_STAMP="end", MINUTES_ZONE="Europe/Berlin")
    assert (read.all_of("stamp_is"), read.all_of("zone")) == ("end", "Europe/Berlin")
    assert "bars of 1m by their end, by the clock of Europe/Berlin" in read.told


@pytest.mark.parametrize("header", ["close_time", "Close Time", "window_end", "timeClose"])
def test_a_header_may_say_that_stamps_are_ends(tmp_path: Path, header: str) -> None:
    head = f"{header},open,high,low,close,volume\n"
    read = Read(write(tmp_path, "IBM.csv", head + lines("2024-07-01 09:31", "2024-07-01 09:32")))
    assert (read.all_of("stamp_is"), read.stamps[0]) == ("end", "2024-07-01T09:31:00")


@pytest.mark.parametrize(
    "stamps", [("2024-07-01 09:30:59", "2024-07-01 09:31:59"),
               ("2024-07-01 09:30:59.999", "2024-07-01 09:31:59.999")]
)  # fmt: skip
def test_the_last_second_of_a_bar_is_the_bar_that_began_before_it(
    tmp_path: Path, stamps: tuple[str, str]
) -> None:
    head = "close_time,open,high,low,close,volume\n"
    read = Read(write(tmp_path, "IBM.csv", head + lines(*stamps)))
    assert read.stamps == ["2024-07-01T09:30:00", "2024-07-01T09:31:00"]
    assert read.all_of("stamp_is") == "start"


def count_up(day: date, seconds: int, count: int) -> list[str]:
    start = datetime.combine(day, datetime.min.time().replace(hour=9), UTC)
    return [f"{start + timedelta(seconds=seconds * n):%Y-%m-%d %H:%M:%S}" for n in range(count)]


DAY, NEXT = date(2024, 7, 1), date(2024, 7, 2)


@pytest.mark.parametrize(
    ("stamps", "interval"),
    [
        (count_up(DAY, 60, 5), "1m"),
        (["2024-07-01 09:30:00", "2024-07-01 09:32:00", "2024-07-01 09:35:00"], "1m"),
        (count_up(DAY, 1, 90), "1s"),
        ([*count_up(DAY, 60, 5), "2024-07-01 09:05:37"], "1m"),  # the bar in the making
    ],
)
def test_the_smallest_step_tells_the_interval(
    tmp_path: Path, stamps: list[str], interval: str
) -> None:
    read = Read(write(tmp_path, "IBM.csv", HEAD + lines(*stamps)))
    assert (len(read.rows), read.all_of("interval")) == (len(stamps), interval)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(300, "5m bars cannot be stored as 1m: export bars of 1m or 1s, of which 5m are made"),
     (3600, "1h bars cannot be stored as 1m: export bars of 1m or 1s, of which 1h are made"),
     (120, "2m bars cannot be stored as 1m: export bars of 1m or 1s, of which 1m 5m 15m 30m 1h"),
     (5, "5s bars cannot be stored as 1s: export bars of 1m or 1s, of which 1m 5m 15m 30m 1h")],
)  # fmt: skip
def test_bars_of_another_interval_are_refused_by_name(
    tmp_path: Path, seconds: int, says: str
) -> None:
    stamps = [*count_up(DAY, seconds, 4), *count_up(NEXT, seconds, 4)]
    read = Read(write(tmp_path, "IBM.csv", HEAD + lines(*stamps)))
    assert read.rows == []
    assert [says in error for error in read.errors] == [True]


@pytest.mark.parametrize(
    ("day", "says"),
    [("03/08/2024", "set DATE_ORDER=MDY or DATE_ORDER=DMY"), ("2024-13-45", "write times as")],
)
def test_dates_that_cannot_be_read_are_refused_with_the_remedy(
    tmp_path: Path, day: str, says: str
) -> None:
    read = Read(write(tmp_path, "IBM.csv", HEAD + lines(f"{day} 09:30", f"{day} 09:31")))
    assert read.rows == []
    assert [says in error for error in read.errors] == [True]


@pytest.mark.parametrize(("small", "large"), [(60, 300), (60, 900), (1, 60)])
def test_two_intervals_in_one_file_are_one_message(tmp_path: Path, small: int, large: int) -> None:
    stamps = [*count_up(DAY, large, 20), *count_up(NEXT, small, 40)]
    read = Read(write(tmp_path, "IBM.csv", HEAD + lines(*stamps)))
    assert read.rows == []
    assert "on 2024-07-01) in one file" in read.errors[0]
    assert len(read.errors) == 1


@pytest.mark.parametrize(("small", "large"), [("1", "5"), ("1m", "15m"), ("M1", "H1")])
def test_a_column_of_intervals_tells_that_there_are_two(
    tmp_path: Path, small: str, large: str
) -> None:
    head = "ticker,per,time,open,high,low,close,volume\n"
    rows = [f"IBM,{small},{stamp}" for stamp in count_up(DAY, 60, 10)]
    path = write(tmp_path, "all.txt", head + lines(*rows))
    assert len(Read(path).rows) == 10
    path = write(tmp_path, "all.txt", head + lines(*rows, f"IBM,{large},{count_up(DAY, 60, 1)[0]}"))
    [error] = Read(path).errors
    assert error == (
        f"all.txt: bars of {' and '.join(sorted((small, large)))} in one file: save each interval"
        " as a file of its own"
    )


CLOSES = [f"2024-{month:02}-{day:02} 16:00" for month in (6, 7) for day in range(1, 12)]
DAYS = {
    "dates": ["2024-07-01", "2024-07-02", "2024-07-03"],
    "midnight in New York, in UTC": ["1709269200", "1709528400", "1710129600", "1710216000"],
    "closes, one of them early": [*CLOSES, "2024-07-12 13:00"],
}


@pytest.mark.parametrize("days", DAYS.values(), ids=DAYS)
def test_daily_files_are_passed_over_and_alone_they_are_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: list[str]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder, "GE.csv", HEAD + lines(*days))
    caplog.set_level("INFO", "etl")
    assert "daily bars" in Read(folder).errors[0]
    write(folder, "IBM.csv", HEAD + lines(*count_up(DAY, 60, 3)))
    read = Read(folder)
    assert (read.errors, {row["symbol"] for row in read.rows}) == ([], {"IBM"})
    assert "GE.csv: daily bars, passed over: `make etl` loads them" in caplog.text


def test_instants_in_parquet_stay_exact_where_the_clock_shows_an_hour_twice(tmp_path: Path) -> None:
    starts = [datetime(2024, 11, 3, 5, 30, tzinfo=UTC) + timedelta(minutes=n) for n in range(90)]
    kind = pa.timestamp("ns", "America/New_York")
    columns = {"timestamp": pa.array(starts, kind)}
    columns |= {name: pa.array([10.5] * 90) for name in ("open", "high", "low", "close")}
    pq.write_table(pa.table(columns), tmp_path / "BTC-USD.parquet")
    read = Read(tmp_path / "BTC-USD.parquet")
    assert read.stamps == [f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in starts]


@pytest.mark.parametrize("stamps", ["start", "end"])
def test_a_saved_answer_of_alpha_vantage_tells_its_clock_and_its_stamps(
    tmp_path: Path, stamps: str
) -> None:
    first = datetime(2026, 11, 2, tzinfo=UTC)
    answer = as_intraday("IBM", list_starts(first, first + timedelta(days=2)), stamps)
    read = Read(write(tmp_path, "answer.json", json.dumps(answer)))
    assert (read.all_of("zone"), read.all_of("stamp_is")) == ("US/Eastern", stamps)


def test_a_saved_chart_of_yahoo_holds_instants(tmp_path: Path) -> None:
    bars = {"open": [1, 1], "high": [2, 2], "low": [1, 1], "close": [2, 2], "volume": [5, 6]}
    meta = {"symbol": "IBM", "dataGranularity": "1m", "exchangeTimezoneName": "America/New_York"}
    result = {"meta": meta, "timestamp": [1705933800, 1705933860], "indicators": {"quote": [bars]}}
    chart = {"chart": {"result": [result], "error": None}}
    read = Read(write(tmp_path, "chart.json", json.dumps(chart)))
    assert (tuple(read.stamps), read.all_of("symbol")) == (EXACT, "IBM")


def test_names_say_whose_minutes_a_file_holds() -> None:
    names = {
        "AAPL_1min_firstratedata.csv": "AAPL",
        "BRK.B_full_1min_adjsplit.txt": "BRK.B",
        "intraday_1min_IBM.csv": "IBM",
        "DAT_XLSX_XAUUSD_M1_2019.xlsx": "XAUUSD",
        "ETHUSDT-1s-2024-01-02.zip": "ETHUSDT",
    }
    assert {name: read_name(name) for name in names} == names


@pytest.mark.parametrize("mark", ["CST", "Mars/Base", "+25:00", "", "../etc/passwd", "X"])
def test_what_names_no_clock_is_none(mark: str) -> None:
    assert read_zone(mark) is None
