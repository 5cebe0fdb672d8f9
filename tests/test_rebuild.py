"""A store that takes answers one by one, some at a time or all at once knows the same, since then.

The answers are drawn at random: bars that change, splits and dividends that move, go and come
back, sessions still open, dirty rows. Growing day by day is what the others are held to.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.bars.view import View, derive_whole
from api.cache.series_cache import read_cached_series
from api.store.duckdb_file.reader import FileReader
from api.store.duckdb_file.snapshots import open_snapshot
from etl import verify
from etl.base import run_records
from etl.base.stage_files import record_files
from etl.contracts.deliveries import Delivery
from etl.extract import fetch_all
from etl.load import load
from etl.settings import Settings, read_settings
from etl.sources import build_actions, build_bars
from etl.transform import transform
from tests.conftest import call_stage, query_store
from tests.stores import store_of


def make_instant(*parts: int) -> datetime:
    """In UTC, as the store has it."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


SYMBOLS = ("AAPL", "IBM")
DAYS = [make_instant(2024, 1, 2) + timedelta(days) for days in (*range(4), *range(6, 11))]
# Table → the columns that say since when, and what; which run said so is left out.
TABLES = {
    "ohlcv_data": "*",
    "ohlcv_known": "* EXCLUDE (run_id)",
    "ohlcv_revisions": "* EXCLUDE (run_id)",
    "instruments": "* EXCLUDE (version)",
    "corporate_actions": "*",
    "corporate_action_revisions": "* EXCLUDE (run_id)",
    "action_lists": "*",
    "bar_notes": "* EXCLUDE (run_id)",
    "bar_note_revisions": "* EXCLUDE (run_id)",
    "gaps": "*",
    "answers": "*",
}


@dataclass(frozen=True)
class Answer:
    number: int
    symbol: str
    kind: str  # bars, splits, dividends
    at: datetime
    rows: tuple[tuple[datetime, float, int], ...]

    def deliver(self) -> Delivery:
        about: dict[str, Any] = {"symbol": self.symbol, "ex_date": None}
        actions = [{**about, "kind": "answer", "value": str(self.number)}]
        if self.kind == "bars":
            bars = build_bars(
                [write_bar(self.symbol, *row) for row in self.rows], "v", "raw", self.at
            )
            return Delivery(self.symbol, bars, build_actions(actions, "v", self.at))
        actions.append({**about, "kind": self.kind, "value": None})
        actions += [
            {**about, "ex_date": f"{day:%Y-%m-%d}", "kind": self.kind[:-1], "value": str(value)}
            for day, value, _ in self.rows
        ]
        return Delivery(self.symbol, actions=build_actions(actions, "v", self.at))


@dataclass
class Answers:
    """A source that has just these."""

    answers: Sequence[Answer]
    count: int = 0

    def __post_init__(self) -> None:
        self.notes: dict[str, Any] = {"answers": len(self.answers)}

    def fetch(self) -> Iterator[Delivery]:
        return (answer.deliver() for answer in self.answers)


def write_bar(symbol: str, day: datetime, close: float, volume: int) -> dict[str, str | None]:
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    text: dict[str, str | None] = {name: str(price) for name, price in prices.items()}
    return {"symbol": symbol, "timestamp": f"{day:%Y-%m-%d}", **text, "volume": str(volume)}


def draw_answers(chance: random.Random, count: int) -> list[Answer]:
    """Answers of all symbols in the order in which they were fetched, no two at one instant."""
    answers = []
    at = make_instant(2024, 1, 3, 15)
    for number in range(1, count + 1):
        at += timedelta(hours=chance.choice([5, 11, 17]), seconds=number)
        kind = chance.choice(["bars", "bars", "bars", "splits", "dividends"])
        known = [day for day in DAYS if day <= at] if kind == "bars" else DAYS
        days = sorted(chance.sample(known, min(len(known), chance.randint(0, 6))))
        days = days or ([known[0]] if kind == "bars" else [])
        values = {"bars": [50, 100, 101, -1], "splits": [2, 4], "dividends": [0.5, 1.5]}[kind]
        rows = tuple((day, chance.choice(values), chance.choice([0, 7])) for day in days)
        answers.append(Answer(number, chance.choice(SYMBOLS), kind, at, rows))
    return answers


def take(data_dir: Path, answers: Sequence[Answer]) -> dict[str, Any]:
    """One run of the three stages over these answers; what load recorded of it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    settings = read_settings(Settings, {"DATA_DIR": str(data_dir)}, {}, Path("no .env"))
    run = run_records.open_run(settings)
    with run.record_stage("extract") as record:
        fetch_all(settings, Answers(answers), run, record)
        record_files(record, settings.raw_path, settings.raw_actions_path)
    args = argparse.Namespace()
    transform(settings, args, run)
    load(settings, args, run)
    loaded: dict[str, Any] = run.record["stages"]["load"]
    return loaded


def read_tables(data_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: query_store(store_of(data_dir), f"SELECT {columns} FROM {table} ORDER BY ALL")
        for table, columns in TABLES.items()
    }


def read_as_of(data_dir: Path, instants: Sequence[datetime]) -> dict[Any, Any]:
    """What the API makes its answers of: bars in all adjustments, and the days that have notes."""
    reader = FileReader(open_snapshot(store_of(data_dir), 64).connection.cursor())
    catalog = reader.read_catalog()
    found = {}
    for symbol in catalog:
        for at in instants:
            held = read_cached_series(reader, [symbol], catalog, "1d", at)[0]
            for adjustment in ("raw", "split", "all"):
                series = derive_whole(View((symbol,), adjustment=adjustment), held)
                closes = list(zip(series.days.tolist(), series.close.tolist(), strict=True))
                found[symbol, at, adjustment] = closes
            found[symbol, at] = sorted(reader.read_noted_days([symbol], at)[0].tolist())
    return found


def cut(answers: list[Answer], chance: random.Random) -> list[list[Answer]]:
    """Some loads of several answers each, in order; within a load in any order."""
    ends = sorted({*chance.sample(range(1, len(answers)), 2), len(answers)})
    parts = [answers[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    return [chance.sample(part, len(part)) for part in parts]


def is_good(answer: Answer) -> bool:
    return answer.kind != "bars" or any(value > 0 for _, value, _ in answer.rows)


@pytest.mark.parametrize(
    ("seed", "count"),
    [(1, 4), *(pytest.param(n, 14, marks=pytest.mark.long) for n in range(2, 6))],
)
def test_answers_one_by_one_some_at_a_time_and_all_at_once_make_one_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, count: int
) -> None:
    chance = random.Random(seed)
    # a run whose every row is rejected fails, and its answers come again with the next one
    answers = [answer for answer in draw_answers(chance, count) if is_good(answer)]
    instants = [answer.at + timedelta(seconds=s) for answer in answers for s in (-1, 0)]
    grown = tmp_path / "grown"
    said: dict[Any, Any] = {}
    for answer in answers:
        take(grown, [answer])
        now = read_as_of(grown, [at for at in instants if at <= answer.at])
        assert {key: now[key] for key in said} == said
        said = now
    wanted = read_tables(grown)
    for name, parts in {"some": cut(answers, chance), "all": [answers[::-1]]}.items():
        for part in parts:
            take(tmp_path / name, part)
        assert read_tables(tmp_path / name) == wanted
        assert read_as_of(tmp_path / name, instants) == said
        monkeypatch.setenv("DATA_DIR", str(tmp_path / name))
        assert call_stage(verify.main) == 0


def test_a_row_that_a_newer_answer_of_the_same_load_has_too_is_superseded(data_dir: Path) -> None:
    at = make_instant(2024, 1, 9, 22)
    answers = [
        Answer(n, "IBM", "bars", at + timedelta(hours=n), ((DAYS[0], close, 7), (DAYS[n], 5, 7)))
        for n, close in ((1, 5.0), (2, 6.0), (3, 6.0))
    ]
    record = take(data_dir, answers)
    assert (record["inserted"], record["superseded"], record["revised"]) == (4, 2, 0)
    rows = "SELECT close, known_from, known_to FROM ohlcv_revisions"
    first, second, _ = (answer.at for answer in answers)
    assert query_store(store_of(data_dir), rows) == [(5.0, first, second)]
    assert call_stage(verify.main) == 0
    assert take(data_dir, answers[::-1])["superseded"] == 2


@pytest.mark.long
def test_a_split_that_moves_or_goes_counts_until_the_list_that_has_it_no_more(
    data_dir: Path,
) -> None:
    at = make_instant(2024, 1, 20)
    lists = [((DAYS[3], 4.0, 0),), ((DAYS[4], 4.0, 0),), ()]
    take(data_dir, [Answer(1, "IBM", "bars", at, tuple((day, 100.0, 7) for day in DAYS))])
    for n, rows in enumerate(lists, 2):
        take(data_dir, [Answer(n, "IBM", "splits", at + timedelta(days=n), rows)])
    old = Answer(9, "IBM", "splits", at + timedelta(days=2, hours=1), ((DAYS[5], 7.0, 0),))
    take(data_dir, [old])
    instants = [at + timedelta(days=n, hours=2) for n in (1, 2, 3, 4)]
    found = read_as_of(data_dir, instants)
    quarters = [[close for _, close in found["IBM", t, "split"]].count(25.0) for t in instants]
    assert quarters == [0, 3, 4, 0]
    assert call_stage(verify.main) == 0


def test_an_older_answer_about_an_action_never_replaces_a_newer_one(data_dir: Path) -> None:
    at = make_instant(2024, 1, 20)
    take(data_dir, [Answer(1, "IBM", "bars", at, ((DAYS[0], 100.0, 7),))])
    for n, amount in ((5, 0.5), (3, 0.25), (4, 0.75)):
        rows = ((DAYS[0], amount, 0),)
        take(data_dir, [Answer(n, "IBM", "dividends", at + timedelta(days=n), rows)])
    found = query_store(store_of(data_dir), "SELECT amount FROM corporate_actions")
    assert found == [(0.5,)]
    known = "SELECT dividends_known_at, splits_known_at, actions_known_at FROM instruments"
    assert query_store(store_of(data_dir), known) == [(at + timedelta(days=5), None, None)]


def test_an_answer_that_says_nothing_new_is_marked_as_taken_once(data_dir: Path) -> None:
    at = make_instant(2024, 1, 20)
    rows = ((DAYS[0], 100.0, 7),)
    take(data_dir, [Answer(1, "IBM", "bars", at, rows)])
    assert take(data_dir, [Answer(2, "IBM", "splits", at, ())]).get("generation")
    assert take(data_dir, [Answer(3, "IBM", "bars", at, rows)]).get("generation")
    assert not take(data_dir, [Answer(3, "IBM", "bars", at, rows)]).get("generation")
    marks = query_store(store_of(data_dir), "SELECT number FROM answers ORDER BY number")
    assert marks == [(1,), (2,), (3,)]
