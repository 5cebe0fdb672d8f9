"""transform: every raw row becomes a bar, a reject with its reason, or is out of range."""

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl import transform
from etl.contracts.files import RAW_BARS
from etl.rules import rejects, remedies
from etl.rules.rejects import RULES
from tests.conftest import call_stage, query_store, read_bars, read_record

Row = dict[str, Any]
FETCHED_AT = datetime(2024, 1, 2)  # noqa: DTZ001
GOOD: Row = {
    "symbol": "IBM",
    "timestamp": "2012-01-03",
    "open": "10",
    "high": "12",
    "low": "9",
    "close": "11",
    "volume": "500",
    "adj_close": None,
    "basis": "raw",
    "source": "files",
    "run_id": "r",
    "fetched_at": FETCHED_AT,
    "file": None,
    "line": None,
    "interval": "1d",
}


def write_raw(data_dir: Path, rows: Iterable[Row]) -> None:
    table = pa.Table.from_pylist([{**GOOD, **row} for row in rows], schema=RAW_BARS)
    pq.write_table(table, data_dir / "raw_data.parquet")


def judge(data_dir: Path, *rows: Row, options: tuple[str, ...] = ()) -> tuple[list[Row], list[Row]]:
    """The clean rows and the rejected ones."""
    write_raw(data_dir, rows)
    call_stage(transform.main, *options)
    return read_clean(data_dir), read_rejected(data_dir)


def read_clean(data_dir: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(data_dir / "clean_data.parquet").to_pylist()
    return rows


def read_rejected(data_dir: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(data_dir / "rejected_data.parquet").to_pylist()
    return rows


def count_rows(data_dir: Path) -> Row:
    counts: Row = read_record(data_dir)["stages"]["transform"]
    return counts


# Reasons to reject


TOMORROW_AND_A_DAY = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
REJECTS: list[tuple[Row, str]] = [
    ({"close": "abc"}, "unreadable number"),
    ({"open": "1,234.5"}, "unreadable number"),
    ({"low": "$9"}, "unreadable number"),
    ({"volume": "12abc"}, "unreadable number"),
    ({"volume": "inf"}, "unreadable number"),
    ({"close": None}, "missing price"),
    ({"open": ""}, "missing price"),
    ({"high": " N/A "}, "missing price"),
    ({"low": "null"}, "missing price"),
    ({"close": "-"}, "missing price"),
    ({"high": "inf"}, "not finite"),
    ({"high": "1e400"}, "not finite"),
    ({"low": "0"}, "not positive"),
    ({"low": "-9"}, "not positive"),
    ({"high": "8.99"}, "high below low"),
    ({"volume": "-1"}, "negative volume"),
    ({"volume": "9223372036854775808"}, "volume over 64 bits"),
    ({"volume": "1e300"}, "volume over 64 bits"),
    ({"timestamp": TOMORROW_AND_A_DAY}, "future date"),
    ({"timestamp": "2012-01-03 16:00:00"}, "time of day"),
    ({"timestamp": "2012-01-03T00:00:01-05:00"}, "time of day"),
    ({"timestamp": "1325548801"}, "time of day"),
    ({"timestamp": "1/3/2012"}, "ambiguous date"),
    ({"timestamp": "03.01.2012"}, "ambiguous date"),
    ({"timestamp": "31-12-12"}, "ambiguous date"),
    ({"timestamp": None}, "unreadable date"),
    ({"timestamp": "2012-02-30"}, "unreadable date"),
    ({"timestamp": "20121301"}, "unreadable date"),
    ({"timestamp": "infinity"}, "unreadable date"),
    ({"timestamp": "yesterday"}, "unreadable date"),
    ({"symbol": None}, "unreadable symbol"),
    ({"symbol": "  "}, "unreadable symbol"),
    ({"symbol": "International Business Machines"}, "unreadable symbol"),
]


def test_a_bad_row_is_rejected_as_it_came_with_its_reason(data_dir: Path) -> None:
    clean, rejected = judge(data_dir, {"symbol": "FB"}, *(change for change, _ in REJECTS))
    received = [{k: v for k, v in row.items() if k != "session"} for row in rejected]
    assert received == [{**GOOD, **change, "reason": reason} for change, reason in REJECTS]
    assert [row["symbol"] for row in clean] == ["FB"]
    assert count_rows(data_dir)["reasons"] == Counter(reason for _, reason in REJECTS)


def test_every_reason_has_its_example() -> None:
    assert {reason for _, reason in REJECTS} == {rule.reason for rule in RULES}


def test_the_counts_of_each_reason_are_logged(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge(data_dir, {}, {"symbol": "A", "low": "0"}, {"symbol": "B", "low": "0"}, {"close": "x"})
    assert capsys.readouterr().err.splitlines() == [
        "INFO transform: 4 rows in = 1 clean + 3 rejected + 0 out of range",
        "WARNING transform: rejected 2: not positive, as A 2012-01-03 open=10 high=12 low=0"
        " close=11 volume=500 (a share has no such price: correct it where it comes from)",
        "WARNING transform: rejected 1: unreadable number, as IBM 2012-01-03 open=10 high=12 low=9"
        " close=x volume=500 (write numbers as 1234.56)",
    ]


def test_the_example_of_a_reason_says_where_it_stands_and_is_never_long() -> None:
    values = ("IBM", "2012-01-03", "1", "x" * 900, "\x1b[31m", None, "7")
    line = remedies.show_row("a/b.csv", 3, *values)
    assert line.startswith("a/b.csv:3: IBM 2012-01-03 open=1 high=xxx")
    assert line.endswith("… low=�[31m close= volume=7")
    assert len(line) < 150
    assert remedies.show_row(None, None, *values).startswith("IBM 2012-01-03")


def test_each_reason_has_a_remedy() -> None:
    reasons = {rule.reason for rule in rejects.RULES} | {rejects.DUPLICATE, rejects.TWO_BARS}
    assert reasons <= remedies.REMEDIES.keys()


def test_without_a_clean_row_it_exits_1_and_says_where_the_reasons_are(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raw(data_dir, [{"close": "abc"}])
    assert call_stage(transform.main) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("ERROR transform: no clean row; the reasons are above, the rows in /")
    assert [row["reason"] for row in read_rejected(data_dir)] == ["unreadable number"]


# What is kept


SUSPICIOUS: dict[str, Row] = {
    "SPIKE": {"open": "10000000", "high": "10000000"},
    "OPEN-ABOVE-HIGH": {"open": "13"},
    "CLOSE-BELOW-LOW": {"close": "8"},
    "NO-TRADE": {"volume": "0"},
    "PENNY": {"close": "0.000001", "low": "0.000001"},
    "FLAT": {"open": "11", "high": "11", "low": "11", "close": "11"},
}


def test_a_suspicious_but_possible_row_is_kept_as_it_is(data_dir: Path) -> None:
    rows = [{**GOOD, **change, "symbol": name} for name, change in SUSPICIOUS.items()]
    clean, _ = judge(data_dir, *rows)
    names = ("open", "high", "low", "close", "volume")
    assert {row["symbol"]: [row[name] for name in names] for row in clean} == {
        row["symbol"]: [float(row[name]) for name in names] for row in rows
    }


DATES = {
    "2012-01-03": "2012-01-03",
    "2012-1-3": "2012-01-03",
    "2012/01/03": "2012-01-03",
    " 2012-01-03 ": "2012-01-03",
    "2012-01-03 00:00:00": "2012-01-03",
    "2012-01-03T00:00:00.000000000": "2012-01-03",
    "2012-01-03T00:00:00Z": "2012-01-03",
    "20120103": "2012-01-03",
    "20120103T000000": "2012-01-03",
    "1325548800": "2012-01-03",
    "1325548800.0": "2012-01-03",
    "1325548800000": "2012-01-03",
    "946684800000": "2000-01-01",
    "-86400": "1969-12-31",
    "03-Jan-2012": "2012-01-03",
    "3 January 2012": "2012-01-03",
    "Jan 3, 2012": "2012-01-03",
}


def test_a_date_is_read_in_every_form_that_people_send(data_dir: Path) -> None:
    rows = [{"timestamp": text, "symbol": f"S{i:02}"} for i, text in enumerate(DATES)]
    clean, rejected = judge(data_dir, *rows)
    assert rejected == []
    found = [f"{row['timestamp']:%Y-%m-%d %H:%M:%S}" for row in clean]
    assert dict(zip(DATES, found, strict=True)) == {
        text: f"{day} 00:00:00" for text, day in DATES.items()
    }


def test_midnight_at_its_own_offset_is_that_session(data_dir: Path) -> None:
    clean, _ = judge(
        data_dir,
        {"symbol": "VOD.L", "timestamp": "2022-06-06 00:00:00+01:00"},
        {"symbol": "IBM", "timestamp": "2022-06-06 00:00:00-04:00"},
    )
    assert [f"{row['timestamp']:%Y-%m-%d}" for row in clean] == ["2022-06-06"] * 2


def judge_volumes(data_dir: Path, texts: Iterable[str | None]) -> list[int | None]:
    rows = [{"volume": text, "symbol": f"S{i:02}"} for i, text in enumerate(texts)]
    return [row["volume"] for row in judge(data_dir, *rows)[0]]


def test_a_volume_with_a_fraction_is_kept_exactly(data_dir: Path) -> None:
    volumes = {
        "10.60": (106, 1),
        "1e-8": (1, 8),
        "0.000000000000000001": (1, 18),
        "9007199254740993.5": (90071992547409935, 1),
        "4294967295.0000001": (42949672950000001, 7),
        "123456789012.000001": (123456789012000001, 6),
        "1.5e3": (1500, 0),
        "7": (7, 0),
    }
    rows = [{"volume": text, "symbol": f"S{i:02}"} for i, text in enumerate(volumes)]
    clean, _ = judge(data_dir, *rows)
    found = [(row["volume"], row["volume_decimals"]) for row in clean]
    assert dict(zip(volumes, found, strict=True)) == volumes
    assert {row["volume_given"] for row in clean} == {None}


def test_a_volume_of_more_digits_than_fit_is_rounded_and_told(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volumes = {
        "99999999999.123456789": (999999999991234568, 7),
        "922337203685477580.75": (922337203685477581, 0),
        "1.2345678901234567e-05": (12345678901235, 18),
    }
    rows = [{"volume": text, "symbol": f"S{i:02}"} for i, text in enumerate(volumes)]
    clean, _ = judge(data_dir, *rows)
    found = [(row["volume"], row["volume_decimals"]) for row in clean]
    assert dict(zip(volumes, found, strict=True)) == volumes
    assert [row["volume_given"] for row in clean] == list(volumes)
    told = "3 volumes have more digits than 63 bits hold: rounded, as 99999999999.123456789 of S00"
    assert told in capsys.readouterr().err


def test_two_different_bars_of_one_answer_and_day_are_both_rejected_and_shown(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"close": "11.5", "file": "a/x.csv", "line": 7}
    clean, rejected = judge(data_dir, {}, other, {"timestamp": "2012-01-04"}, {"symbol": "ge"})
    assert [(row["symbol"], row["timestamp"].day) for row in clean] == [("GE", 3), ("IBM", 4)]
    assert [row["reason"] for row in rejected] == ["two different bars of one day"] * 2
    told = capsys.readouterr().err
    assert "IBM 2012-01-03 has 10 12 9 11 500 and 10 12 9 11.5 500 (a/x.csv:7)" in told


def test_of_two_equal_bars_one_is_kept(data_dir: Path) -> None:
    clean, rejected = judge(data_dir, {}, {"close": "11.0"})
    assert [row["close"] for row in clean] == [11.0]
    assert [row["reason"] for row in rejected] == ["duplicate"]


def test_a_missing_volume_is_null(data_dir: Path) -> None:
    texts = [None, "", "nan", "NaN", "null", "None", "N/A", "-"]
    assert judge_volumes(data_dir, texts) == [None] * len(texts)


def test_a_whole_volume_is_exact_up_to_64_bits(data_dir: Path) -> None:
    volumes = {
        "1000.0": 1000,
        "1.5e3": 1500,
        " 7 ": 7,
        "9007199254740993": 9007199254740993,
        "9223372036854775807": 9223372036854775807,
        "9223372036854775807.0": 9223372036854775807,
    }
    assert judge_volumes(data_dir, volumes) == list(volumes.values())


def test_symbols_are_trimmed_upper_case_and_never_taken_for_missing(data_dir: Path) -> None:
    sent = [" ibm ", "brk.b", "^gspc", "na", "NaN", "on", "true", "null", "-P-HIZ"]
    clean, _ = judge(data_dir, *({"symbol": symbol} for symbol in sent))
    assert [row["symbol"] for row in clean] == sorted(symbol.strip().upper() for symbol in sent)


def test_the_clean_file_is_sorted_by_symbol_and_timestamp(data_dir: Path) -> None:
    keys = [(s, d) for s in ("A", "B", "C") for d in ("2012-01-03", "2012-01-04", "2012-01-05")]
    shuffled = random.Random(1).sample(keys, len(keys))
    clean, _ = judge(data_dir, *({"symbol": s, "timestamp": d} for s, d in shuffled))
    assert [(row["symbol"], f"{row['timestamp']:%Y-%m-%d}") for row in clean] == keys


def test_rows_of_a_key_that_came_in_several_answers_are_all_kept(data_dir: Path) -> None:
    later = {"fetched_at": FETCHED_AT + timedelta(seconds=1), "close": "10.5", "symbol": "ibm"}
    orders: tuple[tuple[Row, Row], ...] = (({}, later), (later, {}))
    for rows in orders:
        clean, rejected = judge(data_dir, *rows)
        assert [row["close"] for row in clean] == [11, 10.5]
        assert rejected == []


def test_a_bad_row_does_not_beat_a_good_one_of_its_key(data_dir: Path) -> None:
    later = {"fetched_at": FETCHED_AT + timedelta(days=1), "close": "abc"}
    clean, rejected = judge(data_dir, {}, later)
    assert [row["close"] for row in clean] == [11]
    assert [row["reason"] for row in rejected] == ["unreadable number"]


# Dates asked for


def test_start_and_end_are_both_inclusive(data_dir: Path) -> None:
    days = [f"2012-01-0{day}" for day in range(1, 8)]
    clean, rejected = judge(
        data_dir,
        *({"timestamp": day} for day in days),
        options=("--start", "2012-01-03", "--end", "2012-01-05"),
    )
    assert [f"{row['timestamp']:%Y-%m-%d}" for row in clean] == days[2:5]
    assert rejected == []
    assert count_rows(data_dir)["out_of_range"] == 4


def test_start_after_end_exits_2_with_the_remedy(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raw(data_dir, [{}])
    assert call_stage(transform.main, "--start", "2013-01-01", "--end", "2012-01-01") == 2
    wanted = "ERROR START_DATE=2013-01-01 is after END_DATE=2012-01-01: swap them\n"
    assert capsys.readouterr().err == wanted


# Inputs


def test_a_missing_input_exits_1_with_the_remedy(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_stage(transform.main) == 1
    line = f"ERROR {data_dir}/raw_data.parquet does not exist: run the stage before, or name"
    assert capsys.readouterr().err.startswith(line)


def test_a_typed_parquet_file_of_another_make_is_judged_too(data_dir: Path, tmp_path: Path) -> None:
    prices = {name: pa.array([1.5, float("nan")]) for name in ("open", "high", "low", "close")}
    table = pa.table(
        {
            "symbol": ["ibm", "fb"],
            "timestamp": pa.array([datetime(2012, 1, 3)] * 2, pa.timestamp("ns")),  # noqa: DTZ001
            **prices,
        }
    )
    pq.write_table(table, tmp_path / "mine.parquet")
    assert call_stage(transform.main, "--input", tmp_path / "mine.parquet") == 0
    [row] = read_clean(data_dir)
    assert (row["symbol"], row["close"], row["volume"], row["source"]) == (
        "IBM",
        1.5,
        None,
        "files",
    )
    assert [row["reason"] for row in read_rejected(data_dir)] == ["not finite"]


def test_judging_twice_is_judging_once(own_sample: Path) -> None:
    names = ("clean_data.parquet", "rejected_data.parquet", "clean_actions.parquet")
    once = [pq.read_table(own_sample / name) for name in names]
    assert call_stage(transform.main) == 0
    assert [pq.read_table(own_sample / name) for name in names] == once


def test_no_bar_of_the_sample_is_rejected(sample_dir: Path) -> None:
    assert read_rejected(sample_dir) == []
    assert len(read_clean(sample_dir)) == 12_154
    assert read_clean(sample_dir)[0]["volume"] == 9_616_100


def test_the_splits_reach_the_store_by_kind_and_ratio(sample_dir: Path) -> None:
    actions = query_store(
        sample_dir / "market_data.duckdb",
        "SELECT symbol, ex_date::VARCHAR, kind, ratio, amount FROM corporate_actions ORDER BY ALL",
    )
    assert actions == [
        ("AAPL", "2000-06-21", "split", 2.0, None),
        ("AAPL", "2005-02-28", "split", 2.0, None),
        ("MSFT", "2003-02-18", "split", 2.0, None),
    ]
    assert len(read_bars(sample_dir / "market_data.duckdb")) == 12_154


# Properties, over random messy rows

PRICE_TEXTS = st.sampled_from(["10", "11.5", "9", "0", "-1", "", "nan", "inf", "x", None])
MESSY = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["IBM", "ibm ", "FB", "NA", "", None, "a b"]) | st.text(),
        "timestamp": st.sampled_from(
            ["2012-01-03", "20120103", "2012-01-04", "1/3/2012", "1325548800", "2012-01-04 09:30"]
        )
        | st.text(),
        "open": PRICE_TEXTS,
        "high": PRICE_TEXTS | st.floats().map(str),
        "low": PRICE_TEXTS,
        "close": PRICE_TEXTS,
        "volume": st.sampled_from(["1", "1.0", "1.5", "-1", "nan", None, "x"])
        | st.integers().map(str)
        | st.floats().map(str),
        "fetched_at": st.sampled_from([FETCHED_AT, FETCHED_AT + timedelta(days=1)]),
        "run_id": st.sampled_from(["r", "s"]),
    }
)
# Good rows of one key: whatever tells two of them apart must not be their order.
RIVAL = st.fixed_dictionaries(
    {
        **{name: st.sampled_from(["9", "10", "12"]) for name in ("open", "close")},
        "volume": st.sampled_from(["1", "2", None]),
        "basis": st.sampled_from(["raw", "split"]),
        "source": st.sampled_from(["files", "alpha_vantage"]),
        "fetched_at": st.sampled_from([FETCHED_AT, FETCHED_AT + timedelta(days=1)]),
        "run_id": st.sampled_from(["r", "s"]),
    }
)
PROPERTY = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@PROPERTY
@given(rows=st.lists(MESSY, min_size=1, max_size=30))
def test_rows_in_are_clean_plus_rejected_plus_out_of_range(data_dir: Path, rows: list[Row]) -> None:
    clean, rejected = judge(data_dir, *rows, options=("--start", "2012-01-04"))
    out_of_range = count_rows(data_dir)["out_of_range"]
    assert len(rows) == len(clean) + len(rejected) + out_of_range
    keys = [(row["symbol"], row["timestamp"]) for row in clean]
    assert len(set(keys)) == len(keys)


@pytest.mark.long
@PROPERTY
@given(
    rows=st.lists(MESSY | RIVAL, min_size=2, max_size=12),
    dice=st.randoms(use_true_random=False),
)
def test_any_order_of_the_input_gives_one_table(
    data_dir: Path, rows: list[Row], dice: random.Random
) -> None:
    clean, _ = judge(data_dir, *rows)
    again, _ = judge(data_dir, *dice.sample(rows, len(rows)))
    assert again == clean


def test_transform_sorts_within_64_mib_a_core_and_the_rest_on_the_disk(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []
    publish = transform.publish_bars

    def note_limit(connection: duckdb.DuckDBPyConnection, *rest: Any) -> None:
        asked = "SELECT current_setting('memory_limit'), current_setting('threads')"
        limits.extend(connection.execute(asked).fetchall())
        publish(connection, *rest)

    monkeypatch.setattr(transform, "publish_bars", note_limit)
    judge(data_dir, {})
    monkeypatch.setenv("ETL_MEMORY_MB", "100")
    judge(data_dir, {})
    [(given, threads), (declared, _)] = limits
    with duckdb.connect(config={"memory_limit": f"{max(2, threads) * 64}MiB"}) as alike:
        assert alike.execute("SELECT current_setting('memory_limit')").fetchall() == [(given,)]
    assert declared == "100.0 MiB"
