"""What every store that the API may read from keeps to (api.store), whatever keeps the rows."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from api.faults import NoDatabase, QueryTimeout, Refused, Unknown, UnknownRun
from api.store import Question, Reader, Store
from api.store.duckdb_file.snapshots import Database
from etl.settings import PROJECT_ROOT
from tests.stores import load_answer, store_of

T = TypeVar("T")
FIRST, SECOND = "2012-02-01T00:00:00", "2012-02-02T00:00:00"


def open_file(data: Path) -> Store[Any]:
    return Database(store_of(data), 64, 10.0)


OPENERS = {"a DuckDB file": open_file}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IBM with a bar that changed and a gap, and AAPL."""
    folder = tmp_path_factory.mktemp("contract") / "data"
    load_answer(folder, FIRST, ("IBM", "2012-01-03", 186.3, 200), ("AAPL", "2012-01-03", 58.7))
    load_answer(folder, SECOND, ("IBM", "2012-01-03", 187.0, 200), ("IBM", "2012-01-05", 180.0))
    return folder


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Callable[[Path], Store[Any]]:
    return OPENERS[request.param]


@pytest.fixture
def store(opener: Callable[[Path], Store[Any]], data: Path) -> Store[Any]:
    return opener(data)


def ask(store: Store[Any], question: Question[T]) -> T:
    async def answer() -> T:
        return await store.ask(store.newest(), question)

    return asyncio.run(answer())


def test_the_newest_snapshot_is_the_same_until_another_is_published(
    opener: Callable[[Path], Store[Any]], tmp_path: Path
) -> None:
    load_answer(tmp_path / "data", FIRST, ("IBM", "2012-01-03", 186.3))
    store = opener(tmp_path / "data")
    before = store.newest()
    assert store.newest() is before
    load_answer(tmp_path / "data", SECOND, ("IBM", "2012-01-04", 187.0))
    after = store.newest()
    assert after.generation != before.generation
    assert (before.bars["IBM"], after.bars["IBM"]) == (1, 2)


def test_a_snapshot_goes_on_to_give_what_it_gave(
    opener: Callable[[Path], Store[Any]], tmp_path: Path
) -> None:
    load_answer(tmp_path / "data", FIRST, ("IBM", "2012-01-03", 186.3))
    store = opener(tmp_path / "data")
    before = store.newest()
    load_answer(tmp_path / "data", SECOND, ("IBM", "2012-01-03", 187.0))

    async def read_close(snapshot: Any) -> float:
        found = await store.ask(snapshot, lambda r: r.read_instrument("IBM")["last_close"])
        return float(found)

    assert asyncio.run(read_close(before)) == 186.3
    assert asyncio.run(read_close(store.newest())) == 187.0


def test_what_is_not_there_is_a_fault_that_knows_nothing_of_http(
    opener: Callable[[Path], Store[Any]], store: Store[Any], tmp_path: Path
) -> None:
    with pytest.raises(NoDatabase, match="run `make etl`"):
        opener(tmp_path).newest()
    for question in (
        lambda reader: reader.read_instrument("IBN"),
        lambda reader: reader.read_listing("IBN"),
        lambda reader: reader.read_coverage("IBN"),
    ):
        with pytest.raises(Unknown, match=r"Unknown symbol IBN: did you mean IBM\?") as told:
            ask(store, question)
        assert told.value.nearest == ["IBM"]
        assert not hasattr(told.value, "status")
    with pytest.raises(UnknownRun):
        ask(store, lambda reader: reader.read_stored_run("no such"))
    with pytest.raises(Refused, match="possible are"):
        ask(store, lambda reader: reader.screen({"sort": "-price"}, 5))
    for interval in ("5m", "1wk", ""):
        with pytest.raises(Refused, match="not stored, but of 1d"):
            ask(store, lambda r, i=interval: r.read_many_series(["IBM"], ["raw"], i))


def test_many_series_come_in_one_question_in_the_order_asked_for(store: Store[Any]) -> None:
    def read(reader: Reader) -> list[tuple[str, list[float]]]:
        found = reader.read_many_series(["IBM", "AAPL"], ["raw", "raw"], "1d")
        return [(each.symbol, each.close.tolist()) for each in found]

    assert ask(store, read) == [("IBM", [187.0, 180.0]), ("AAPL", [58.7])]


@pytest.mark.parametrize(
    ("instant", "closes"),
    [
        (datetime(2012, 1, 1), []),  # noqa: DTZ001
        (datetime(2012, 2, 1), [186.3]),  # noqa: DTZ001
        (datetime(2012, 2, 2), [187.0, 180.0]),  # noqa: DTZ001
    ],
)
def test_a_series_is_as_it_was_known_at_an_instant(
    store: Store[Any], instant: datetime, closes: list[float]
) -> None:
    def read(reader: Reader) -> list[float]:
        return reader.read_many_series(["IBM"], ["raw"], "1d", instant)[0].close.tolist()

    assert ask(store, read) == closes


def test_a_version_moves_with_its_symbol_alone_and_a_stranger_has_that_of_the_store(
    opener: Callable[[Path], Store[Any]], tmp_path: Path
) -> None:
    load_answer(tmp_path / "data", FIRST, ("IBM", "2012-01-03", 186.3), ("X", "2012-01-03", 5.0))
    store = opener(tmp_path / "data")
    before = store.newest()
    load_answer(tmp_path / "data", SECOND, ("IBM", "2012-01-04", 187.0))
    after = store.newest()
    assert after.find_version("X") == before.find_version("X")
    assert after.find_version("IBM") != before.find_version("IBM")
    assert after.find_version("NEW") == after.generation


def test_each_question_has_an_answer(store: Store[Any]) -> None:
    page = (None, None, 0, 10)
    answers: dict[str, tuple[Question[Any], Any]] = {
        "catalog": (
            lambda r: {s: e.bars for s, e in r.read_catalog().items()},
            {"IBM": 2, "AAPL": 1},
        ),
        "instruments": (
            lambda r: [i["symbol"] for i in r.read_instruments("", "", 9)],
            ["AAPL", "IBM"],
        ),
        "totals": (lambda r: r.read_totals()["bars"], 3),
        "exchanges": (lambda r: r.read_exchanges(), ["XNYS"]),
        "listings": (lambda r: [i["kind"] for i in r.search_listings("IB", "", "", 9)], ["stock"]),
        "actions": (lambda r: r.read_actions("IBM", None, False, 0, 9), []),
        "adjusting": (lambda r: r.read_adjusting(["IBM"]), [([], [])]),
        "noted": (lambda r: [days.tolist() for days in r.read_noted_days(["IBM"])], [[]]),
        "notes": (lambda r: r.read_notes("IBM", *page), []),
        "revisions": (lambda r: [b["close"] for b in r.read_revisions("IBM", *page)], [186.3]),
        "coverage": (
            lambda r: [g["session"] for g in r.read_coverage("IBM")["gaps"]],
            ["2012-01-04"],
        ),
        "coverages": (lambda r: [c["gaps"] for c in r.read_coverages("", "", 9)], [0, 1]),
        "gaps": (lambda r: r.count_gaps("IBM", None, None), 1),
        "known": (lambda r: r.has_known(datetime(2012, 1, 1)), False),  # noqa: DTZ001
        "runs": (lambda r: len(r.read_run_ids()), 2),
    }
    for name, (question, wanted) in answers.items():
        assert ask(store, question) == wanted, name


def test_a_question_that_takes_too_long_is_stopped(data: Path) -> None:
    store = Database(store_of(data), 64, 0.2)
    endless = (
        "SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range = b.range + 1"
    )
    with pytest.raises(QueryTimeout, match=r"longer than 0\.2 s"):
        ask(store, lambda reader: reader.execute(endless).fetchall())  # type: ignore[attr-defined]


def test_no_engine_speaks_of_http() -> None:
    modules = list((PROJECT_ROOT / "api" / "store").rglob("*.py"))
    assert modules
    assert [path.name for path in modules if "api.problems" in path.read_text()] == []
