"""Files with no one reading: what is refused, what decides it, and what is said."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from etl import extract, transform
from etl.__main__ import main as run_all
from tests.conftest import call_stage, read_record

H = "Date,Open,High,Low,Close,Volume\n"
ROW = ",10,12,9,11,500\n"
Take = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def take(data_dir: Path, inbox: Path) -> Take:
    """Extract and validate what lies in the inbox: (symbol, day) of the clean bars."""

    def work(*options: str) -> list[tuple[str, str]]:
        if call_stage(extract.main, "--source", "files", "--path", inbox, *options):
            return []
        call_stage(transform.main)
        rows = pq.read_table(data_dir / "clean_data.parquet").to_pylist()
        return [(row["symbol"], f"{row['timestamp']:%Y-%m-%d}") for row in rows]

    return work


def read_actions(data_dir: Path) -> list[tuple[Any, ...]]:
    rows = pq.read_table(data_dir / "raw_actions.parquet").to_pylist()
    return [(row["symbol"], row["ex_date"], row["kind"], float(row["value"])) for row in rows]


def test_dates_that_nothing_settles_are_refused_until_date_order_says_it(
    inbox: Path, take: Take, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "KO.csv").write_text(H + "4/5/2022" + ROW + "4/6/2022" + ROW)
    assert take() == []
    assert "KO.csv: 2 dates may begin with the day or the month" in capsys.readouterr().err
    monkeypatch.setenv("DATE_ORDER", "dmy")
    assert take() == [("KO", "2022-05-04"), ("KO", "2022-06-04")]


def test_what_the_column_proves_stands_above_date_order(
    inbox: Path, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inbox / "KO.csv").write_text(H + "4/5/2022" + ROW + "4/25/2022" + ROW)
    monkeypatch.setenv("DATE_ORDER", "DMY")
    assert take() == [("KO", "2022-04-05"), ("KO", "2022-04-25")]


def test_a_column_that_contradicts_itself_keeps_the_rows_with_one_reading(
    inbox: Path, take: Take
) -> None:
    (inbox / "KO.csv").write_text(
        H + "".join(d + ROW for d in ("4/25/2022", "26/4/2022", "4/5/2022"))
    )
    assert take() == [("KO", "2022-04-25"), ("KO", "2022-04-26")]


def test_years_of_two_digits_that_may_come_first_are_refused(inbox: Path, take: Take) -> None:
    (inbox / "KO.csv").write_text(H + "".join(f"22/04/{day:02}{ROW}" for day in (5, 6, 7)))
    assert take() == []


@pytest.mark.parametrize(
    "days",
    [
        ("2022-04-05 09:30", "2022-04-05 10:30", "2022-04-06 09:30"),
        ("2022-04-05 09:30", "2022-04-06 11:45", "2022-04-07 14:00"),
    ],
    ids=["several a day", "times that differ"],
)
def test_intraday_rows_are_refused_all_of_them(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str], days: tuple[str, ...]
) -> None:
    (inbox / "KO.csv").write_text(H + "".join(day + ROW for day in days))
    assert take() == []
    told = [line for line in capsys.readouterr().err.splitlines() if "make minutes" in line]
    assert ["these are intraday bars, which `make minutes` loads" in line for line in told] == [
        True
    ]


def test_a_close_in_utc_that_may_be_tokyos_midnight_is_not_guessed(inbox: Path, take: Take) -> None:
    (inbox / "KO.csv").write_text(H + "2022-04-05T15:00:00Z" + ROW + "2022-04-06T15:00:00Z" + ROW)
    assert take() == []


def test_a_number_with_two_readings_is_refused_and_its_column_named(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (
        "2022-04-05;1,5;1,75;1,25;1,5;100",
        "2022-04-06;2.5;2.75;2.25;2.5;100",
        "2022-04-07;1.234;1.234;1.234;1.234;100",
    )
    (inbox / "KO.csv").write_text("Date;Open;High;Low;Close;Volume\n" + "\n".join(rows))
    assert take() == [("KO", "2022-04-05"), ("KO", "2022-04-06")]
    assert (
        "commas and points both look decimal in open, high, low, close" in capsys.readouterr().err
    )


@pytest.mark.parametrize("day", ["05.04.2022", "2022-04-05"])
def test_prices_that_may_be_thousands_with_a_point_are_not_guessed(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str], day: str
) -> None:
    head = "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen\n"
    (inbox / "DAX.csv").write_text(head + f"{day};14.860;14.875;14.662;14.729;900\n")
    (inbox / "SAP.csv").write_text(
        head + f"{day};14.86;14.875;14.662;14.729;900\n".replace("05", "25")
    )
    assert [symbol for symbol, _ in take()] == ["SAP"]
    assert "DAX.csv: all prices are like 14.860" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        *("S&P 500 Historical Data.csv", "HistoricalData_1672912345678.csv", "prices.csv"),
        *(
            "2021.csv",
            "prices_2023.csv",
            "20220405.csv",
            "part-7.parquet.csv",
            "dataset.csv",
            "3.csv",
        ),
    ],
)
def test_a_name_that_is_no_symbol_is_refused_with_the_remedy_and_an_option_names_it(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (inbox / name).write_text(H + "2022-04-05" + ROW)
    assert take() == []
    assert "--symbol NVDA, or symbols.csv" in capsys.readouterr().err
    assert take("--symbol", "^gspc") == [("^GSPC", "2022-04-05")]


def test_symbols_csv_beside_the_files_names_them(inbox: Path, take: Take) -> None:
    (inbox / "S&P 500 Historical Data.csv").write_text(H + "2022-04-05" + ROW)
    (inbox / "KO.csv").write_text(H + "2022-04-05" + ROW)
    (inbox / "symbols.csv").write_text("file,symbol\nS&P 500 Historical Data.csv,^gspc\n")
    assert take() == [("KO", "2022-04-05"), ("^GSPC", "2022-04-05")]


def test_names_of_several_companies_are_no_symbols_and_never_one_instrument(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str]
) -> None:
    head = "Date,Name,Open,High,Low,Close,Volume\n"
    (inbox / "KO.csv").write_text(
        head + "2022-04-05,Coca-Cola Co" + ROW + "2022-04-05,PepsiCo Inc" + ROW
    )
    assert take() == []
    assert "write their symbols in a column Symbol" in capsys.readouterr().err


def test_what_looks_like_a_volume_and_is_not_taken_is_named(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "KO.csv").write_text(
        "Date,Open,High,Low,Close,Volume,Quote Volume,Adj Volume\n2022-04-05,10,12,9,11,500,1,2\n"
    )
    assert take() == [("KO", "2022-04-05")]
    assert "KO.csv: not taken: Quote Volume, Adj Volume" in capsys.readouterr().err


@pytest.mark.parametrize(
    "head",
    [
        "Date,Adj Open,Adj High,Adj Low,Adj Close,Volume",
        "Date,Ask Open,Ask High,Ask Low,Ask Close,Volume",
        "Date,Open,High,Low,Prev. Close,Volume",
        "Päivä,Ylin,Ylin 52 vk,Alin,Alin 52 vk,Vaihto",
    ],
)
def test_columns_of_another_meaning_or_language_are_never_read_by_their_order(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str], head: str
) -> None:
    (inbox / "KO.csv").write_text(head + "\n2022-04-05" + ROW)
    assert take() == []
    assert "rename" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["Volume (000s)", "Vol. (in lots)", "Volume, mln", "Volumen (€)", "Volume $"]
)
def test_a_volume_in_another_unit_is_no_number_of_shares(
    data_dir: Path, inbox: Path, take: Take, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (inbox / "KO.csv").write_text(f'Date,Open,High,Low,Close,"{name}"\n2022-04-05{ROW}')
    assert take() == [("KO", "2022-04-05")]
    assert f"KO.csv: not taken: {name}" in capsys.readouterr().err
    assert pq.read_table(data_dir / "raw_data.parquet")["volume"].to_pylist() == [None]


@pytest.mark.parametrize(
    "row",
    [
        "2022-04-05,1,210.50,1,212.75,1,209.25,1,211.50,500",
        "2022-04-05,10,12,9,11,1,500",
        "Apr 5, 2022,10,12,9,11,500",
    ],
    ids=["prices", "volume", "date"],
)
@pytest.mark.parametrize(
    "count", [pytest.param(1, marks=pytest.mark.long), 600], ids=["small", "long"]
)
def test_rows_that_a_comma_without_quotes_has_shifted_are_refused(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str], row: str, count: int
) -> None:
    good = "".join(
        f"{1990 + n // 300}-{n // 25 % 12 + 1:02}-{n % 25 + 1:02}{ROW}" for n in range(count)
    )
    (inbox / "KO.csv").write_text(H + good + row + "\n")
    assert len(take()) == count
    assert "a comma without quotes" in capsys.readouterr().err


def test_two_columns_of_one_name_are_refused_and_a_second_set_of_prices_is_named(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = "Date,Close,Close,High,High,Low,Low,Open,Open\n2022-04-05,11,21,12,22,9,19,10,20\n"
    (inbox / "KO.csv").write_text(twice)
    (inbox / "PEP.csv").write_text(
        "Date,Open,High,Low,Close,Open_y,High_y,Low_y,Close_y\n2022-04-05,10,12,9,11,20,22,19,21\n"
    )
    assert take() == [("PEP", "2022-04-05")]
    told = capsys.readouterr().err
    assert "KO.csv: two columns for open, high, low, close" in told
    assert "PEP.csv: not taken: Open_y, High_y, Low_y, Close_y" in told


def test_one_row_a_week_is_told(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str]
) -> None:
    days = ("04-01", "04-08", "04-15", "04-22", "04-29", "05-06", "05-13", "05-20")
    (inbox / "KO.csv").write_text(H + "".join(f"2022-{day}{ROW}" for day in days))
    (inbox / "PEP.csv").write_text(H + "".join(f"2022-04-0{n}{ROW}" for n in range(1, 9)))
    assert len(take()) == 16
    told = capsys.readouterr().err
    assert "KO.csv: one row in 7 days" in told
    assert "PEP.csv: one row" not in told


def test_files_of_other_kinds_are_named_and_passed_over(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "KO.csv").write_text(H + "2022-04-05" + ROW)
    (inbox / "sub").mkdir()
    (inbox / "sub" / "PEP.xls").write_bytes(b"x")
    (inbox / ".DS_Store").write_bytes(b"x")
    assert take() == [("KO", "2022-04-05")]
    told = capsys.readouterr().err
    assert "sub/PEP.xls: passed over" in told
    assert "DS_Store" not in told


def test_a_time_of_modification_to_come_counts_as_now_and_is_told(
    data_dir: Path, inbox: Path, take: Take, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "KO.csv").write_text(H + "2022-04-05" + ROW)
    os.utime(inbox / "KO.csv", (4e9, 4e9))
    take()
    [row] = pq.read_table(data_dir / "raw_data.parquet").to_pylist()
    assert row["fetched_at"].year < 2090
    assert "KO.csv: modified in the future (2096-10-02)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4:1", 4),
        ("3/2", 1.5),
        ("1-for-10", 0.1),
        ("1/8", 0.125),
        ("2.000000/1.000000", 2),
        ("7.0", 7),
    ],
)
def test_a_split_is_read_in_whatever_form(
    data_dir: Path, inbox: Path, take: Take, text: str, value: float
) -> None:
    (inbox / "KO_splits.csv").write_text(f"Date,Stock Splits\n2022-04-05,{text}\n2022-05-05,0\n")
    take()
    assert read_actions(data_dir) == [("KO", "2022-04-05", "split", value)]


def test_files_of_events_alone_bring_splits_and_dividends(
    data_dir: Path, inbox: Path, take: Take
) -> None:
    (inbox / "splits.csv").write_text(
        "execution_date,split_from,split_to,ticker\n2022-04-05,1,20,KO\n"
    )
    (inbox / "KO_dividends.csv").write_text(
        'date,declarationDate,paymentDate,period,value,currency\n2022-03-01,2022-02-01,2022-03-09,Q,"0,44",USD\n'
    )
    (inbox / "saved.json").write_text(
        '{"results": [{"execution_date": "2021-07-20", "split_from": 1, "split_to": 4,'
        ' "ticker": "NVDA"}], "status": "OK"}'
    )
    (inbox / "T_splits.csv").write_text("date,ratio\n2022-04-11,1324:1000\n")
    (inbox / "PEP_div.csv").write_text("Ex-Date,Amount,Payment Date\n06/14/2022,$1.25,06/30/2022\n")
    take()
    assert sorted(read_actions(data_dir)) == [
        ("KO", "2022-03-01", "dividend", 0.44),
        ("KO", "2022-04-05", "split", 20),
        ("NVDA", "2021-07-20", "split", 4),
        ("PEP", "2022-06-14", "dividend", 1.25),
        ("T", "2022-04-11", "split", 1.324),
    ]


def test_a_split_that_cannot_be_read_is_told_not_dropped(
    inbox: Path, take: Take, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "KO.csv").write_text(
        "Date,Open,High,Low,Close,Split\n2022-04-05,10,12,9,11,four to one\n"
    )
    take()
    assert "four to one" in capsys.readouterr().err


# Bad files: each one clear line


def pack(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


BAD: dict[str, tuple[bytes | dict[str, bytes], str]] = {
    "bomb.zip": ({"KO.csv": b"0" * 30_000_000}, "unpacks to more than 250 times its size"),
    "paths.zip": ({"../KO.csv": H.encode()}, "a path that leads out of the zip"),
    "broken.zip": (b"PK\x03\x04 no more", "damaged, or no zip file"),
    "LINE.csv": (b"x," * 2_000_000, "a line of over 1 MiB"),
    "FIRST.csv": (b"x," * 100_000, "a first line of over 128 KiB"),
    "LATE.csv": (
        H.encode() + b"2022-04-05,10,12,9,11,500\n" * 9000 + b"9" * 3_000_000,
        "a line of over 1 MiB",
    ),
    "deep.json": (b"[" * 200_000, "no JSON that can be read (nested too deep)"),
    "none.json": (b'{"message": "try later"}', "no list of bars"),
    "week.json": (b'{"Weekly Time Series": {"2022-04-05": {}}}', "not daily bars"),
    "page.csv": (b"<!DOCTYPE html><html></html>", "a web page, not prices"),
    "empty.csv": (b"", "empty"),
    "image.csv": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "binary, not a text"),
    "BOOK.xlsx": (b"no workbook", "damaged, or no .xlsx workbook"),
    "KO.parquet": (b"PAR1", "KO.parquet"),
    "KO.feather": (b"ARROW1", "KO.feather"),
    "candles_KO.json": (  # low, high, open, close
        b"[[1672704000, 9, 12, 10, 11, 500], [1672790400, 9, 12, 10, 11, 500]]",
        "no list of bars",
    ),
    "LACKS.csv": (
        b"Date,Open,High,Close\n2022-04-05,1,2,3\n",
        "no column for low among Date, Open, High, Close",
    ),
}


def test_bad_files_fail_with_one_clear_line_each_and_stop_no_other(
    data_dir: Path, inbox: Path, take: Take
) -> None:
    (inbox / "ZZ.csv").write_text(H + "2022-04-05" + ROW)
    for name, (content, _) in BAD.items():
        if isinstance(content, dict):
            pack(inbox / name, content)
        else:
            (inbox / name).write_bytes(content)
    assert take() == [("ZZ", "2022-04-05")]
    failures = read_record(data_dir)["stages"]["extract"]["failures"]
    told = {label.partition("/")[0]: why for label, why in failures.items()}
    assert told.keys() == BAD.keys()
    assert [name for name, (_, why) in BAD.items() if why not in told[name]] == []
    assert [why for why in told.values() if "\n" in why or len(why) > 300] == []


def test_formulas_are_values_as_they_stand_and_never_reckoned(inbox: Path, take: Take) -> None:
    (inbox / "bars.csv").write_text(
        'Symbol,Date,Open,High,Low,Close,Volume\n="005930",2022-04-05,10,12,9,11,500\n'
        "KO,2022-04-05,=5+5,12,9,11,500\n"
    )
    assert take() == [("005930", "2022-04-05")]


# What was read, before and after


def test_check_tells_of_every_file_and_writes_nothing(
    data_dir: Path, inbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "daily_KO.csv").write_text(H + "25/4/2022" + ROW + "26/4/2022,10,12,9,x,500\n")
    (inbox / "prices.csv").write_text(H + "2022-04-05" + ROW)
    assert call_stage(run_all, "--source", "files", "--path", inbox, "--check") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "daily_KO.csv: KO: 1 bar 2022-04-25 to 2022-04-26; symbol KO from the name"
    )
    assert "1 rejected: unreadable number; as daily_KO.csv:3: KO,2022-04-26,10,12,9,x,500" in first
    assert second.startswith("prices.csv: prices.csv names no symbol")
    assert {path.name for path in data_dir.iterdir() if path.is_file()} <= {"etl.log"}


def test_a_load_gives_its_summary_as_json_to_programs(
    inbox: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inbox / "KO.csv").write_text(H + "2022-04-05" + ROW)
    assert call_stage(run_all, "--source", "files", "--path", inbox, "--json") == 0
    [file] = json.loads(capsys.readouterr().out)["files"]
    assert (file["file"], file["symbols"], file["rows"]) == ("KO.csv", ["KO"], 1)
    assert (file["first"], file["last"]) == ("2022-04-05", "2022-04-05")
