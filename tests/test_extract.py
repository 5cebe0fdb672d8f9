"""extract: what came, as text and with its provenance, in data/raw_data.parquet."""

import gzip
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl import extract
from etl.contracts.files import RAW_BARS
from tests.conftest import call_stage, clean_environ, read_record, run_stage

Row = dict[str, Any]
ROW = "2012-01-03,10.0,12.0,9.0,11.0,500"
BAR = {
    "timestamp": "2012-01-03",
    "open": "10.0",
    "high": "12.0",
    "low": "9.0",
    "close": "11.0",
    "volume": "500",
}


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """The folder with a user's files."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


def read_raw(data_dir: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(data_dir / "raw_data.parquet").to_pylist()
    return rows


def read_actions(data_dir: Path) -> list[tuple[str, ...]]:
    rows = pq.read_table(data_dir / "raw_actions.parquet").to_pylist()
    return [
        (row["symbol"], row["ex_date"], row["kind"], row["value"]) for row in rows if row["ex_date"]
    ]


def take_files(path: Path, *options: str) -> int:
    return call_stage(extract.main, "--source", "files", "--path", path, *options)


def pick(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


# The sample


def test_the_sample_comes_whole_as_text_with_its_provenance(sample_dir: Path) -> None:
    table = pq.read_table(sample_dir / "raw_data.parquet")
    assert table.schema.equals(RAW_BARS)
    assert table.num_rows == 12_154
    first = table.slice(0, 1).to_pylist()[0]
    names = ("symbol", "timestamp", "open", "high", "low", "close", "volume")
    assert pick(first, *names) == (
        "AAPL",
        "2000-03-01",
        "118.56",
        "132.06",
        "118.5",
        "130.31",
        "9616100",
    )
    assert pick(first, "source", "basis") == ("sample", "raw")
    assert first["run_id"] == read_record(sample_dir)["run_id"]
    assert set(table["symbol"].to_pylist()) == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}


def test_the_sample_brings_its_three_splits(sample_dir: Path) -> None:
    assert read_actions(sample_dir) == [
        ("AAPL", "2000-06-21", "split", "2"),
        ("AAPL", "2005-02-28", "split", "2"),
        ("MSFT", "2003-02-18", "split", "2"),
    ]


def test_the_sample_has_all_splits_of_its_days(sample_dir: Path) -> None:
    rows = pq.read_table(sample_dir / "raw_actions.parquet").to_pylist()
    lists = [row for row in rows if row["ex_date"] is None]
    assert {row["symbol"] for row in lists} == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}
    assert {(row["kind"], row["value"]) for row in lists} == {("splits", "days")}


def test_only_the_symbols_asked_for_come(data_dir: Path) -> None:
    assert call_stage(extract.main, "--symbols", "ibm,FB") == 0
    assert {row["symbol"] for row in read_raw(data_dir)} == {"IBM", "FB"}


def test_the_log_says_which_source_is_used_and_how_to_change_it(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_stage(extract.main, "--symbols", "FB")
    line = "source sample (no AV_API_KEY is set: put one in .env to fetch today's bars)"
    assert line in capsys.readouterr().err
    assert line in (data_dir / "etl.log").read_text()


# Exit codes


def test_one_bad_symbol_does_not_stop_the_others_and_is_listed_last(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_stage(extract.main, "--symbols", "NOPE,FB") == 0
    assert {row["symbol"] for row in read_raw(data_dir)} == {"FB"}
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("WARNING extract: 1 failed: unknown symbol: the sample holds AAPL, FB,")
    assert list(read_record(data_dir)["stages"]["extract"]["failures"]) == ["NOPE"]


def test_strict_makes_any_failure_exit_1_and_keeps_what_came(data_dir: Path) -> None:
    assert call_stage(extract.main, "--symbols", "NOPE,FB", "--strict") == 1
    assert {row["symbol"] for row in read_raw(data_dir)} == {"FB"}
    assert call_stage(extract.main, "--symbols", "FB", "--strict") == 0


def test_when_nothing_comes_it_exits_1_and_the_old_files_stay(data_dir: Path) -> None:
    assert call_stage(extract.main, "--symbols", "AAPL") == 0
    before = {path.name: path.read_bytes() for path in data_dir.glob("raw_*")}
    assert call_stage(extract.main, "--symbols", "NOPE") == 1
    assert {path.name: path.read_bytes() for path in data_dir.glob("raw_*")} == before
    assert read_record(data_dir)["stages"]["extract"]["status"] == "failed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--source", "yahoo"),
            "SOURCE='yahoo': wanted one of sample, alpha_vantage, alpaca, massive, files",
        ),
        (("--source", "files"), "SOURCE=files wants SOURCE_PATH"),
        (("--source", "files", "--path", "/nowhere"), "SOURCE_PATH=/nowhere: no file there"),
        (("--source", "alpha_vantage"), "SOURCE=alpha_vantage wants AV_API_KEY"),
    ],
)
def test_settings_that_do_not_suffice_exit_2_with_the_remedy(
    data_dir: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert call_stage(extract.main, *options) == 2
    assert message in capsys.readouterr().err
    assert not (data_dir / "raw_data.parquet").exists()


def test_in_a_pipe_there_is_no_progress_bar(tmp_path: Path) -> None:
    done = run_stage("-m", "etl.extract", env=clean_environ(tmp_path, SOURCE="sample"))
    assert done.stdout == ""
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["INFO", "INFO"]


# Files: the spellings that people have


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Date,Open,High,Low,Close,Adj Close,Volume", "2012-01-03,10.0,12.0,9.0,11.0,5.5,500"),
        ("timestamp,open,high,low,close,volume", ROW),
        ("Datetime,o,h,l,c,v", ROW),
        ("time,OPEN,HIGH,LOW,CLOSE,VOL", ROW),
        (",1. open,2. high,3. low,4. close,5. volume,date", "0,10.0,12.0,9.0,11.0,500,2012-01-03"),
        ("Date;Open;High;Low;Close;Volume", ROW.replace(",", ";")),
    ],
    ids=["yahoo", "alpha vantage csv", "letters", "capitals", "numbered", "semicolons"],
)
def test_columns_are_found_by_the_spellings_that_people_have(
    data_dir: Path, inbox: Path, header: str, row: str
) -> None:
    (inbox / "ibm.csv").write_text(f"{header}\n{row}\n")
    assert take_files(inbox) == 0
    [found] = read_raw(data_dir)
    assert {name: found[name] for name in BAR} == BAR
    assert pick(found, "symbol", "source", "basis") == ("IBM", "files", "raw")


def test_a_yfinance_history_brings_bars_by_wall_clock_and_its_actions(
    data_dir: Path, inbox: Path
) -> None:
    (inbox / "AAPL.csv").write_text(
        "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n"
        "2020-08-28 00:00:00-04:00,126.01,126.44,124.58,124.81,187151300,0.0,0.0\n"
        "2020-08-31 00:00:00-04:00,127.58,131.0,126.0,129.04,225702700,0.0,4.0\n"
        "2020-11-06 00:00:00-05:00,118.32,119.2,116.13,118.69,114457900,0.205,0.0\n"
    )
    assert take_files(inbox) == 0
    assert read_raw(data_dir)[1]["timestamp"] == "2020-08-31 00:00:00-04:00"
    assert read_actions(data_dir) == [
        ("AAPL", "2020-08-31 00:00:00-04:00", "split", "4.0"),
        ("AAPL", "2020-11-06 00:00:00-05:00", "dividend", "0.205"),
    ]


def test_stooq_headers_in_angle_brackets_are_understood(data_dir: Path, inbox: Path) -> None:
    (inbox / "ibm.us.txt").write_text(
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        "IBM.US,D,20120103,000000,10.0,12.0,9.0,11.0,500,0\n"
    )
    assert take_files(inbox / "ibm.us.txt") == 0
    [found] = read_raw(data_dir)
    assert pick(found, "symbol", "timestamp", "volume") == ("IBM.US", "20120103", "500")


def test_the_name_column_of_the_kaggle_files_is_the_symbol(data_dir: Path, inbox: Path) -> None:
    (inbox / "all_stocks_5yr.csv").write_text(
        f"date,open,high,low,close,volume,Name\n{ROW},AAL\n{ROW},ZTS\n"
    )
    assert take_files(inbox / "all_stocks_5yr.csv") == 0
    assert [row["symbol"] for row in read_raw(data_dir)] == ["AAL", "ZTS"]


def test_symbols_that_look_like_missing_values_stay_symbols(data_dir: Path, inbox: Path) -> None:
    words = ["NA", "NAN", "ON", "TRUE", "NULL"]
    rows = "".join(f"{word},{ROW}\n" for word in words)
    (inbox / "bars.csv").write_text(f"Symbol,Date,Open,High,Low,Close,Volume\n{rows}")
    for word in words:
        (inbox / f"{word}.csv").write_text(f"Date,Open,High,Low,Close,Volume\n{ROW}\n")
    assert take_files(inbox) == 0
    assert sorted(row["symbol"] for row in read_raw(data_dir)) == sorted(words * 2)


def test_the_adjusted_close_is_kept_apart_from_the_close(data_dir: Path, inbox: Path) -> None:
    (inbox / "IBM.csv").write_text(
        "Date,Adj Close,Open,High,Low,Close,Volume\n2012-01-03,5.5,10,12,9,11,500\n"
    )
    assert take_files(inbox) == 0
    assert pick(read_raw(data_dir)[0], "close", "adj_close") == ("11", "5.5")


def test_an_adjusted_close_alone_does_not_pass_for_a_close(
    data_dir: Path, inbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "IBM.csv").write_text("Date,Open,High,Low,Adj Close\n2012-01-03,10,12,9,5.5\n")
    assert take_files(inbox) == 1
    assert "IBM.csv: no column for close among Date, Open, High, Low, Adj Close" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("aapl.csv", "AAPL"),
        ("BRK.B.csv", "BRK.B"),
        ("^GSPC.csv", "^GSPC"),
        ("-P-HIZ.csv", "-P-HIZ"),
    ],
)
def test_without_a_column_the_file_name_is_the_symbol(
    data_dir: Path, inbox: Path, name: str, symbol: str
) -> None:
    (inbox / name).write_text(f"Date,Open,High,Low,Close,Volume\n{ROW}\n")
    assert take_files(inbox) == 0
    assert [row["symbol"] for row in read_raw(data_dir)] == [symbol]


def test_a_gzipped_file_a_folder_and_a_glob_are_read(data_dir: Path, inbox: Path) -> None:
    text = f"Date,Open,High,Low,Close,Volume\n{ROW}\n"
    (inbox / "deep").mkdir()
    (inbox / "deep" / "IBM.csv").write_text(text)
    (inbox / "FB.csv.gz").write_bytes(gzip.compress(text.encode()))
    (inbox / "notes.txt").write_text("not bars")
    for path, symbols in ((inbox, {"IBM", "FB"}), (inbox / "F*.gz", {"FB"})):
        assert take_files(path) == 0
        assert {row["symbol"] for row in read_raw(data_dir)} == symbols


def test_the_symbols_setting_picks_from_files_and_names_those_in_none(
    data_dir: Path, inbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = f"{ROW}, ibm \n{ROW},FB\n"
    (inbox / "bars.csv").write_text(f"Date,Open,High,Low,Close,Volume,Ticker\n{rows}")
    assert take_files(inbox, "--symbols", "IBM,GOOG") == 0
    assert [row["symbol"].strip() for row in read_raw(data_dir)] == ["ibm"]
    assert "1 failed: unknown symbol: GOOG: in none of the files" in capsys.readouterr().err


def test_a_parquet_timestamp_with_a_zone_names_the_session_of_its_own_clock(
    data_dir: Path, inbox: Path
) -> None:
    days = pd.to_datetime(["2022-06-06", "2022-12-06"]).tz_localize("Asia/Tokyo")
    frame = pd.DataFrame(
        {"Open": 10.0, "High": 12.0, "Low": 9.0, "Close": 11.0, "Volume": 500},
        index=pd.DatetimeIndex(days, name="Date"),
    )
    frame.to_parquet(inbox / "7203.T.parquet")
    assert take_files(inbox) == 0
    found = [pick(row, "symbol", "timestamp") for row in read_raw(data_dir)]
    assert found == [("7203.T", "2022-06-06 00:00:00"), ("7203.T", "2022-12-06 00:00:00")]


def test_a_64_bit_volume_keeps_every_digit(data_dir: Path, inbox: Path) -> None:
    table = pa.table(
        {
            "date": ["2012-01-03"],
            **{name: [1.5] for name in ("open", "high", "low", "close")},
            "volume": pa.array([2**63 - 1], pa.int64()),
        }
    )
    pq.write_table(table, inbox / "IBM.parquet")
    assert take_files(inbox) == 0
    assert read_raw(data_dir)[0]["volume"] == "9223372036854775807"


def test_values_stay_as_they_came_however_wrong(data_dir: Path, inbox: Path) -> None:
    (inbox / "IBM.csv").write_text(
        "Date,Open,High,Low,Close,Volume\n1/3/2012,N/A, 12.50 ,-9,1e400,12abc\n"
    )
    assert take_files(inbox) == 0
    found = read_raw(data_dir)[0]
    assert pick(found, *BAR) == ("1/3/2012", "N/A", " 12.50 ", "-9", "1e400", "12abc")


def test_a_damaged_file_is_named_and_the_others_come(
    data_dir: Path, inbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "BAD.parquet").write_bytes(b"PAR1 no more")
    (inbox / "EMPTY.csv").write_bytes(b"")
    (inbox / "IBM.csv").write_text(f"Date,Open,High,Low,Close,Volume\n{ROW}\n")
    assert take_files(inbox) == 0
    assert {row["symbol"] for row in read_raw(data_dir)} == {"IBM"}
    last = capsys.readouterr().err.splitlines()[-1]
    assert "extract: 2 failed: malformed: BAD.parquet" in last
    assert "malformed: EMPTY.csv" in last


def test_files_carry_the_basis_that_the_setting_says(
    data_dir: Path, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_ADJUSTMENT", "split")
    (inbox / "IBM.csv").write_text(f"Date,Open,High,Low,Close,Volume\n{ROW}\n")
    assert take_files(inbox) == 0
    assert read_raw(data_dir)[0]["basis"] == "split"


def test_a_file_was_fetched_when_it_was_last_written(data_dir: Path, inbox: Path) -> None:
    path = inbox / "IBM.csv"
    path.write_text(f"Date,Open,High,Low,Close,Volume\n{ROW}\n")
    os.utime(path, (1_577_836_800, 1_577_836_800))
    assert take_files(inbox) == 0
    assert read_raw(data_dir)[0]["fetched_at"] == datetime(2020, 1, 1)  # noqa: DTZ001
