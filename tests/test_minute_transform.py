"""Raw minutes become clean or rejected ones: nothing is lost, and one message says why."""

import random
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from etl.base.errors import EtlError, InputError
from etl.contracts.minutes import BATCH_BARS, Batch
from etl.contracts.minutes.engines import open_minutes
from etl.contracts.runs import LOADED
from etl.minute_stages import batches
from etl.settings import Settings, SettingsError
from tests.minutes import Row, load_rows, look_at, make_row, transform_rows, use_folder

FIRST, SECOND = "2013-02-28T14:30Z", "2013-02-28T14:31Z"
LATER = datetime.fromisoformat("2024-07-02")


def read_both(settings: Settings) -> tuple[list[Row], list[Row]]:
    paths = (settings.clean_minutes_path, settings.rejected_minutes_path)
    clean, rejected = (pq.read_table(path).to_pylist() for path in paths)
    return clean, rejected


# What is wrong with the values of a row, and the reason: the rules are those of daily bars.
VALUES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"symbol": "A B"}, "unreadable symbol"),
    ({"symbol": ""}, "unreadable symbol"),
    ({"open": "n/a"}, "missing price"),
    ({"close": None}, "missing price"),
    ({"high": "ten"}, "unreadable number"),
    ({"low": "1e999"}, "not finite"),
    ({"open": "0"}, "not positive"),
    ({"high": "9", "low": "11"}, "high below low"),
    ({"volume": "-1"}, "negative volume"),
    ({"volume": "many"}, "unreadable number"),
    ({"volume": "1e19"}, "volume over 64 bits"),
)


def test_rows_are_rejected_by_the_rules_of_daily_bars_with_file_and_line(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    rows = [
        make_row(f"2013-02-28T14:{n:02}Z", **about) | {"file": "a.csv", "line": n + 2}
        for n, (about, _) in enumerate(VALUES)
    ]
    good = [make_row("2013-02-28T15:30Z", volume=None), make_row("2013-02-28T15:31Z", -5, "CLJ13")]
    run = transform_rows(settings, [*rows, *good])
    clean, rejected = read_both(settings)
    assert [(row["line"], row["reason"]) for row in rejected] == [
        (n + 2, reason) for n, (_, reason) in enumerate(VALUES)
    ]
    assert rejected[2]["open"] == "n/a", "as it came"
    assert [row["volume"] for row in clean] == [None, 100]
    counts = run.record["stages"]["transform"]
    assert (counts["rows"], counts["clean"], counts["rejected"]) == (
        len(VALUES) + 2,
        2,
        len(VALUES),
    )


def test_an_example_of_each_reason_is_told_with_its_place_and_the_remedy(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = make_row("2013-03-10 02:30", file="a.csv", line=7)
    transform_rows(use_folder(data_dir), [make_row(FIRST), odd])
    assert "rejected 1: time skipped by the clock, as a.csv:7: AAPL 2013-03-10 02:30" in caplog.text
    assert "write times with an offset or Z" in caplog.text


def test_where_no_row_is_clean_the_run_fails_and_keeps_the_rows(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    with pytest.raises(EtlError, match="no clean row"):
        transform_rows(settings, [make_row("2013-02-28")])
    assert [row["reason"] for row in read_both(settings)[1]] == ["no time of day"]


def test_of_two_bars_of_one_stamp_in_one_answer_none_is_kept(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    twice = [make_row(FIRST, 10), make_row(FIRST, 11), make_row("1362061800", 11)]
    transform_rows(settings, [*twice, make_row(SECOND), make_row(SECOND)])
    clean, rejected = read_both(settings)
    assert [f"{row['timestamp']:%H:%M}" for row in clean] == ["14:31"]
    reasons = [row["reason"] for row in rejected]
    assert sorted(reasons) == ["duplicate", *["two different bars of one stamp"] * 3]


def test_the_newest_of_several_answers_is_kept_and_the_others_are_revisions(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    rows = [make_row(FIRST, 10), make_row(FIRST, 11, fetched_at=LATER)]
    record = load_rows(settings, rows)
    assert (record["inserted"], record["superseded"]) == (1, 1)
    with look_at(settings) as snapshot:
        assert snapshot.bars("AAPL", "1m")["close"].to_pylist() == [11]
        assert snapshot.revisions("AAPL", "1m", None, None)["close"].to_pylist() == [10]


def test_what_became_of_each_row_is_counted_by_symbol(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    load_rows(settings, [make_row(FIRST, 10), make_row(SECOND, 10), make_row(FIRST, 5, "IBM")])
    older = datetime.fromisoformat("2024-06-01")
    record = load_rows(
        settings,
        [
            *(make_row(FIRST, 12, fetched_at=LATER), make_row(SECOND, 10, fetched_at=LATER)),
            *(make_row("2013-02-28T14:32Z"), make_row(FIRST, 6, "IBM", fetched_at=older)),
        ],
    )
    none = dict.fromkeys(("inserted", "revised", "unchanged", "stale", "superseded"), 0)
    assert record["symbols"] == {
        "AAPL": {**none, "inserted": 1, "revised": 1, "unchanged": 1},
        "IBM": {**none, "stale": 1},
    }


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ([{"interval": "1m"}, {"interval": "1s"}], "several intervals: 1m .AAPL., 1s .AAPL.; load"),
        ([{"interval": "5m"}], "bars of interval 5m; those that are stored are 1s and 1m"),
        ([{"interval": None}], "bars of interval none"),
        ([{"basis": "split"}], "minutes are kept as traded: set SOURCE_ADJUSTMENT=raw"),
    ],
)
def test_a_file_that_cannot_be_told_as_a_whole_is_refused_with_one_message(
    data_dir: Path, about: list[dict[str, Any]], told: str
) -> None:
    rows = [make_row(f"2013-02-28T14:3{n}Z", **each) for n, each in enumerate(about)]
    with pytest.raises(InputError, match=told):
        transform_rows(use_folder(data_dir), rows)


def test_days_that_contradict_each_other_are_refused(data_dir: Path) -> None:
    settings = use_folder(data_dir, START_DATE="2013-03-01", END_DATE="2013-02-01")
    with pytest.raises(SettingsError, match="is after END_DATE"):
        transform_rows(settings, [make_row(FIRST)])


@pytest.mark.parametrize("decimals", [1, 8, 17])
def test_volumes_with_decimals_are_exact(data_dir: Path, decimals: int) -> None:
    settings = use_folder(data_dir)
    least = "0." + "1".rjust(decimals, "0")
    rows = [
        make_row(FIRST, 10, "BTC-USD", volume=least),
        make_row(SECOND, 10, "BTC-USD", volume="3"),
    ]
    load_rows(settings, rows)
    with look_at(settings) as snapshot:
        unit = snapshot.instruments["BTC-USD", "1m"].volume_decimals
        assert unit == decimals
        assert snapshot.bars("BTC-USD", "1m")["volume"].to_pylist() == [1, 3 * 10**decimals]


def test_bars_of_a_second_go_the_same_way(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    rows = [make_row(f"2013-02-28T14:30:0{n}Z", interval="1s") for n in range(5)]
    assert load_rows(settings, rows)["inserted"] == 5
    with look_at(settings) as snapshot:
        assert list(snapshot.instruments) == [("AAPL", "1s")]
        assert snapshot.bars("AAPL", "1s").num_rows == 5


def test_a_symbol_needs_no_daily_bars_and_no_calendar(data_dir: Path) -> None:
    settings = use_folder(data_dir)
    load_rows(settings, [make_row(FIRST, symbol="OPAP.AT"), make_row(SECOND, symbol="NEW")])
    with look_at(settings) as snapshot:
        found = {symbol: each.exchange for (symbol, _), each in snapshot.instruments.items()}
    assert found == {"NEW": "XNYS", "OPAP.AT": ""}


@pytest.mark.parametrize(
    ("days", "kept"),
    [
        ({}, ("02-01 00:00", "03-01 00:00")),
        ({"START_DATE": "2013-02-28"}, ("02-28 05:00", "03-01 00:00")),
        ({"END_DATE": "2013-02-04"}, ("02-01 00:00", "02-05 05:00")),
        ({"END_DATE": "2012-02-04"}, None),
        ({"START_DATE": "2014-01-01"}, None),
    ],
)
def test_what_was_asked_for_is_known_as_far_as_it_is_kept(
    data_dir: Path, days: dict[str, str], kept: tuple[str, str] | None
) -> None:
    """An answer without a bar says that nothing was traded, and that it need not be read again."""
    start, end = (datetime.fromisoformat(day) for day in ("2013-02-01", "2013-03-01"))
    span = {"symbol": "AAPL", "start": start, "end": end, "source": "x", "fetched_at": LATER}
    settings = use_folder(data_dir, **days)
    assert load_rows(settings, [], [span])["inserted"] == 0
    with look_at(settings) as snapshot:
        (found,) = snapshot.spans("AAPL", "1m").to_pylist()
    assert found["fetched_at"] == LATER
    if kept is None:
        assert found["start"] == found["end"]
    else:
        assert tuple(f"{found[name]:%m-%d %H:%M}" for name in ("start", "end")) == kept


@pytest.mark.parametrize("seed", range(3))
def test_the_record_counts_as_the_store_does(data_dir: Path, tmp_path: Path, seed: int) -> None:
    """Answers of any age, with keys that come again and values that do not: in any order."""
    chance = random.Random(seed)
    settings, other = use_folder(data_dir), use_folder(tmp_path / "other")
    with closing(open_minutes(other)) as store:
        for _ in range(4):
            fetched = chance.sample([LATER + timedelta(days=n) for n in range(5)], 2)
            keys = {(chance.choice("ABC"), chance.randint(10, 20), at) for at in fetched * 9}
            rows = [
                make_row(f"2013-02-28T15:{n}Z", chance.choice([10, 11]), symbol, fetched_at=at)
                | {"volume": chance.choice(["1", "1.5", "1.50"])}
                for symbol, n, at in sorted(keys)
            ]
            record = load_rows(settings, rows)
            bars = pq.read_table(settings.clean_minutes_path).cast(BATCH_BARS)
            counts = store.upsert(Batch("1m", bars), "run")
            store.publish()
            assert tuple(record[name] for name in LOADED) == tuple(counts)
            assert sum(counts) == len(rows)


@pytest.mark.parametrize("rows", [7, 100, 500])
def test_batches_of_any_size_give_the_same_store(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Months and symbols and days are parted; sessions that reach over a part's end are not."""
    coming = [
        make_row(f"{at:%Y-%m-%dT%H:%M}Z", 100 + at.minute % 9, symbol, volume=str(at.minute))
        for symbol in ("BTC-USD", "CBA.AX", "IBM")
        for day in ("2013-01-31", "2013-02-01", "2013-02-28")
        for n in range(0, 120, 3)
        for at in [datetime.fromisoformat(f"{day}T22:30") + timedelta(minutes=n)]
    ]
    whole, parted = use_folder(data_dir), use_folder(tmp_path / "parted")
    wanted = load_rows(whole, coming)
    monkeypatch.setattr(batches, "BATCH_ROWS", rows)
    found = load_rows(parted, coming)
    assert [found[name] for name in ("symbols", "inserted")] == [
        wanted[name] for name in ("symbols", "inserted")
    ]
    assert read_stored(parted) == read_stored(whole)


def read_stored(settings: Settings) -> dict[Any, Any]:
    with look_at(settings) as snapshot:
        return {
            key: (each.digest, snapshot.notes(*key, None, None).to_pylist())
            for key, each in snapshot.instruments.items()
        }
