"""What was known when: new bars, revisions, stale answers, confirmations, as_of."""

import itertools
import random
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from etl.market.sessions import list_closes
from tests.conftest import Bar, query_store
from tests.server import read_json, serve
from tests.stores import (
    Answer,
    copy_folder,
    hash_bars,
    identify,
    load_answer,
    load_file,
    make_answer,
    make_older,
    store_of,
    write_store,
)

FIRST, SECOND, THIRD, FOURTH = (f"2024-02-0{day}T12:00:00" for day in (1, 2, 3, 4))
DAYS = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9, 10, 11, 12, 16, 17, 18)]


def read_known(data_dir: Path) -> list[tuple[Any, ...]]:
    """Of each bar the day, and those of known_from and known_at."""
    return query_store(
        store_of(data_dir),
        """SELECT symbol, strftime(timestamp, '%d'), strftime(known_from, '%d'),
                  strftime(known_at, '%d') FROM ohlcv_known ORDER BY symbol, timestamp""",
    )


def read_revisions(data_dir: Path) -> list[tuple[Any, ...]]:
    return query_store(
        store_of(data_dir),
        """SELECT symbol, strftime(timestamp, '%d'), close, strftime(known_from, '%d'),
                  strftime(known_to, '%d') FROM ohlcv_revisions ORDER BY symbol, timestamp,
                  known_to, known_from""",
    )


def read_closes(data_dir: Path) -> list[tuple[Any, ...]]:
    return query_store(
        store_of(data_dir),
        "SELECT strftime(timestamp, '%d'), close FROM ohlcv_data ORDER BY symbol, timestamp",
    )


def list_bars(closes: str, symbol: str = "X") -> list[Bar]:
    """`1.2` → the bars of the first and third day, with closes 1 and 2: a dot is a hole."""
    return [(symbol, DAYS[i], float(c)) for i, c in enumerate(closes) if c != "."]


# Since when


def test_a_bar_is_known_from_the_answer_that_brought_it_and_stands_on_the_newest(
    data_dir: Path,
) -> None:
    load_answer(data_dir, FIRST, *list_bars("11"), *list_bars("22", "Y"))
    load_answer(data_dir, SECOND, *list_bars("13.1"))
    assert read_known(data_dir) == [
        ("X", "02", "01", "02"),
        ("X", "03", "02", "02"),
        ("X", "05", "02", "02"),
        ("Y", "02", "01", "01"),
        ("Y", "03", "01", "01"),
    ]


def test_bars_of_several_answers_in_one_file_are_known_each_since_its_own(data_dir: Path) -> None:
    answers = [(FIRST, list_bars("11.1")), (SECOND, list_bars("..1.1"))]
    load_file(data_dir, make_answer(data_dir / "in.parquet", *answers))
    known = [("02", "01"), ("03", "01"), ("04", "02"), ("05", "01"), ("08", "02")]
    assert read_known(data_dir) == [("X", day, at, at) for day, at in known]


def test_a_bar_that_fills_a_hole_is_known_since_its_own_answer(data_dir: Path) -> None:
    load_answer(data_dir, THIRD, *list_bars("1.1"))
    load_answer(data_dir, FIRST, *list_bars("111"))
    assert read_known(data_dir) == [
        ("X", "02", "03", "03"),
        ("X", "03", "01", "01"),
        ("X", "04", "03", "03"),
    ]


# Revisions


def test_a_changed_bar_leaves_its_old_values_and_when_they_were_known(data_dir: Path) -> None:
    for at, closes in ((FIRST, "11"), (SECOND, "12"), (FOURTH, "13")):
        record = load_answer(data_dir, at, *list_bars(closes))
    assert (record["revised"], record["unchanged"]) == (1, 1)
    assert read_revisions(data_dir) == [("X", "03", 1, "01", "02"), ("X", "03", 2, "02", "04")]
    assert read_closes(data_dir) == [("02", 1), ("03", 3)]


def test_a_revision_names_the_run_that_wrote_it_and_keeps_every_old_value(data_dir: Path) -> None:
    load_answer(data_dir, FIRST, ("X", DAYS[0], 5.0, None))
    load_answer(data_dir, SECOND, ("X", DAYS[0], 5.0, 7))
    [row] = query_store(store_of(data_dir), "FROM ohlcv_revisions")
    [[run_id]] = query_store(store_of(data_dir), "SELECT run_id FROM generation")
    day = datetime.fromisoformat(DAYS[0])
    assert row[:7] == ("X", day, 5, 6, 4, 5, None)
    assert row[9] == run_id


# Stale answers


@pytest.mark.parametrize("late", [pytest.param(FIRST, marks=pytest.mark.long), SECOND])
def test_an_older_answer_never_replaces_a_newer_one_and_counts_as_stale(
    data_dir: Path, late: str
) -> None:
    load_answer(data_dir, FIRST, *list_bars("88"))
    load_answer(data_dir, THIRD, *list_bars("99"))
    record = load_answer(data_dir, late, *list_bars("191"))
    assert [record[n] for n in ("inserted", "revised", "unchanged", "stale")] == [1, 0, 1, 1]
    assert read_closes(data_dir) == [("02", 9), ("03", 9), ("04", 1)]


@pytest.mark.long
def test_of_answers_of_one_instant_the_greatest_content_stays_in_any_order(data_dir: Path) -> None:
    values = [(5.0, 7), (5.0, None), (4.0, 9)]
    orders = list(itertools.permutations(values))  # a symbol each
    for step in range(3):
        load_answer(
            data_dir, FIRST, *((f"S{i}", DAYS[0], *order[step]) for i, order in enumerate(orders))
        )
    found = query_store(store_of(data_dir), "SELECT close, volume FROM ohlcv_data")
    assert found == [(5, 7)] * len(orders)


# Confirmations


@pytest.mark.long
def test_an_answer_that_only_confirmed_outlasts_an_older_one_that_comes_late(
    data_dir: Path,
) -> None:
    load_answer(data_dir, FIRST, *list_bars("11"))
    load_answer(data_dir, THIRD, *list_bars("11"))
    late = load_answer(data_dir, SECOND, *list_bars("29"))
    assert (late["stale"], late["revised"]) == (2, 0)
    assert read_closes(data_dir) == [("02", 1), ("03", 1)]
    newer = load_answer(data_dir, FOURTH, *list_bars("29"))
    assert newer["revised"] == 2
    assert read_revisions(data_dir) == [("X", "02", 1, "01", "04"), ("X", "03", 1, "01", "04")]


def test_a_confirmation_is_published_once(data_dir: Path) -> None:
    load_answer(data_dir, FIRST, *list_bars("11"))
    load_answer(data_dir, THIRD, *list_bars("11"))
    assert read_known(data_dir) == [("X", "02", "01", "03"), ("X", "03", "01", "03")]
    before = identify(store_of(data_dir))
    for again in (THIRD, SECOND, FIRST):
        load_answer(data_dir, again, *list_bars("11"))
    assert identify(store_of(data_dir)) == before


@pytest.mark.long
def test_a_bar_that_was_not_in_the_confirming_answer_is_not_confirmed(data_dir: Path) -> None:
    load_answer(data_dir, FIRST, *list_bars("111"))
    load_answer(data_dir, THIRD, *list_bars("1.1"))
    assert load_answer(data_dir, SECOND, *list_bars("222"))["revised"] == 1
    assert read_closes(data_dir) == [("02", 1), ("03", 2), ("04", 1)]


@pytest.mark.long
def test_a_bar_that_fills_a_hole_of_a_confirmed_block_is_not_confirmed(data_dir: Path) -> None:
    load_answer(data_dir, FIRST, *list_bars("1.1"))
    load_answer(data_dir, FOURTH, *list_bars("1.1"))
    load_answer(data_dir, SECOND, *list_bars(".2."))
    assert load_answer(data_dir, THIRD, *list_bars("333"))["revised"] == 1
    assert read_closes(data_dir) == [("02", 1), ("03", 3), ("04", 1)]


@pytest.mark.long
@pytest.mark.parametrize("stored", ["111", "1.1"])
def test_a_bar_of_an_older_answer_in_the_same_file_is_not_confirmed(
    data_dir: Path, stored: str
) -> None:
    load_answer(data_dir, FIRST, *list_bars(stored))
    answers = [(FOURTH, list_bars("1.1")), (SECOND, list_bars(".2."))]
    load_file(data_dir, make_answer(data_dir / "in.parquet", *answers))
    assert load_answer(data_dir, THIRD, *list_bars("333"))["revised"] == 1
    assert read_closes(data_dir) == [("02", 1), ("03", 3), ("04", 1)]


# Any order, any repetition


def draw_answers(chance: random.Random, count: int) -> list[list[Answer]]:
    """Files of one or two answers each, over the same keys: few values, so that A-B-A is common."""
    symbols = [f"S{i:02}" for i in range(24)]
    files = []
    for _ in range(count):
        answers = []
        keys = [(s, d) for s in symbols for d in DAYS[:8] if chance.random() < 0.75]
        chance.shuffle(keys)
        for part in (keys[::2], keys[1::2]):
            at = f"2024-02-{chance.randint(1, 5):02}T12:00:00"
            bars = [(s, d, float(chance.randint(1, 2)), chance.choice([7, None])) for s, d in part]
            answers.append((at, bars))
        files.append(answers)
    return files


@pytest.mark.long
def test_any_order_and_repetition_of_the_same_inputs_gives_one_table(
    data_dir: Path, tmp_path: Path
) -> None:
    chance = random.Random(20)
    files = [
        make_answer(tmp_path / f"{i}.parquet", *answers)
        for i, answers in enumerate(draw_answers(chance, 3))
    ]
    once = list(itertools.permutations(range(3)))
    again = chance.sample([(*order, number) for order in once for number in order], 5)
    orders = [*once, *again, (0, 0, 1, 1, 0, 2)]
    hashes = {}
    for order in orders:
        for length in range(1, len(order) + 1):  # orders that begin alike share the beginning
            folder = tmp_path / "stores" / "".join(map(str, order[:length]))
            if not folder.exists():
                if length > 1:
                    copy_folder(folder.with_name(folder.name[:-1]), folder)
                load_file(folder, files[order[length - 1]])
        hashes[order] = hash_bars(store_of(folder))
    assert len(hashes) == 12
    assert len(set(hashes.values())) == 1, hashes


# As of


def test_as_of_gives_the_bars_known_then_and_none_that_came_later(
    data_dir: Path, tmp_path: Path
) -> None:
    chance = random.Random(7)
    answers: list[Answer] = []
    for day in range(1, 6):
        closes = "".join(chance.choice(".123") for _ in DAYS)
        answers.append((f"2024-02-0{day}T12:00:00", list_bars(closes)))
    known: dict[str, dict[str, float]] = {"2024-02-01T11:59:59": {}}
    so_far: dict[str, float] = {}
    for at, bars in answers:
        load_answer(data_dir, at, *bars)
        so_far = {**so_far, **{day: close for _, day, close in bars}}
        known[at] = known[at.replace("12:00:00", "23:59:59")] = so_far
    with serve(data_dir) as client:
        for at, wanted in known.items():
            found = read_json(client, f"/instruments/X/ohlcv?as_of={at}Z")["data"]
            assert {row["timestamp"][:10]: row["close"] for row in found} == wanted, at
            told = read_json(client, f"/instruments/X/statistics?explain=true&as_of={at}Z")
            days = [date.fromisoformat(day) for day in wanted] or [date(2024, 2, 1)]
            sessions = list_closes("XNYS", min(days), max(days)) if wanted else []
            assert told["explain"]["sessions_missing"] == len(sessions) - len(wanted), at


def test_as_of_never_shows_a_bar_or_a_value_before_its_answer_was_fetched(
    data_dir: Path, tmp_path: Path
) -> None:
    answers = [(THIRD, list_bars("1.31")), (FIRST, list_bars("12.1")), (FOURTH, list_bars("4444"))]
    for at, bars in answers:
        load_answer(data_dir, at, *bars)
    said: dict[str, set[tuple[str, float]]] = {FIRST: set(), SECOND: set(), THIRD: set()}
    for at in said:
        said[at] = {(d, c) for fetched_at, bars in answers if fetched_at <= at for _, d, c in bars}
    with serve(data_dir) as client:
        for at, possible in said.items():
            found = read_json(client, f"/instruments/X/ohlcv?as_of={at}Z")["data"]
            assert {(row["timestamp"][:10], row["close"]) for row in found} <= possible, at
        rows = read_json(client, f"/instruments/X/ohlcv?as_of={THIRD}Z")["data"]
    assert [row["close"] for row in rows] == [1, 2, 3, 1]


def test_what_an_older_store_kept_beside_it_is_taken_into_it(data_dir: Path) -> None:
    """An answer that only confirmed still outlasts one that is older and comes late."""
    load_answer(data_dir, "2024-01-05", ("A", "2024-01-02", 5.0), ("A", "2024-01-03", 6.0))
    make_older(store_of(data_dir))
    beside = data_dir / "market_data.confirmed.parquet"
    day = "TIMESTAMP '2024-01-02'"
    with duckdb.connect() as connection:
        connection.execute(
            f"""COPY (SELECT 'A' AS symbol, {day} AS first, {day} AS last,
            TIMESTAMP '2024-01-09' AS confirmed_at) TO '{beside}' (FORMAT parquet)"""
        )
    late = load_answer(data_dir, "2024-01-08", ("A", "2024-01-02", 5.5), ("A", "2024-01-03", 6.5))
    assert (late["stale"], late["revised"]) == (1, 1)
    assert not beside.exists()
    known = """SELECT close, strftime(known_at, '%d') FROM ohlcv_data
        JOIN ohlcv_known USING (symbol, timestamp) ORDER BY timestamp"""
    assert query_store(store_of(data_dir), known) == [(5.0, "09"), (6.5, "08")]
    seen = "SELECT strftime(seen_at, '%d') FROM instruments"
    assert query_store(store_of(data_dir), seen) == [("09",)]


@pytest.mark.parametrize("version", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_store_of_an_older_schema_is_served_with_its_history(
    data_dir: Path, version: int
) -> None:
    for day, close in (("2024-01-05", 5.0), ("2024-01-09", 6.0)):
        load_answer(data_dir, day, ("A", "2024-01-02", close), ("A", "2024-01-03", 7.0))
    make_older(store_of(data_dir))
    write_store(
        store_of(data_dir),
        f"UPDATE generation SET schema_version = {version}",
        "INSERT INTO corporate_actions VALUES ('A', '2024-01-03', 'split', 2.0, NULL, 'files')",
        "DELETE FROM bar_notes",
        "INSERT INTO bar_notes VALUES ('A', '2024-01-03', 'stale repeat', 'so', 'run')",
    )
    asked = {
        "ohlcv?fields=close": [6.0, 7.0],
        "ohlcv?fields=close&as_of=2024-01-06": [5.0, 7.0],
        "ohlcv?fields=close&as_of=2024-01-04": [],
        "ohlcv?fields=close&adjustment=split": [3.0, 7.0],
        "ohlcv?fields=close&adjustment=split&as_of=2024-01-06": [2.5, 7.0],
        "ohlcv?fields=close&quality=strict": [6.0],
    }
    with serve(data_dir) as client:
        for query, closes in asked.items():
            found = read_json(client, f"/instruments/A/{query}")["data"]
            assert [bar["close"] for bar in found] == closes, query
        [action] = read_json(client, "/instruments/A/corporate-actions")["data"]
        [note] = read_json(client, "/instruments/A/notes")["data"]
        [held] = read_json(client, "/instruments")["data"]
        assert (action["kind"], action["ratio"], note["reason"]) == ("split", 2.0, "stale repeat")
        assert (held["bars"], held["actions_known_at"]) == (2, None)
        assert read_json(client, "/health")["status"] == "ok"


def test_what_lies_beside_an_older_store_and_is_damaged_is_set_aside(data_dir: Path) -> None:
    load_answer(data_dir, "2024-01-05", ("A", "2024-01-02", 5.0))
    make_older(store_of(data_dir))
    (data_dir / "market_data.confirmed.parquet").write_bytes(b"PAR1 and no more")
    assert load_answer(data_dir, "2024-01-08", ("A", "2024-01-02", 5.5))["revised"] == 1
    [path] = data_dir.glob("market_data.confirmed*")
    assert path.name != "market_data.confirmed.parquet"
    assert path.read_bytes() == b"PAR1 and no more"
