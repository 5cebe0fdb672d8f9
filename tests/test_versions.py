"""The version of a symbol moves with all that an answer about it shows, and with nothing else."""

import shutil
from pathlib import Path

import pytest

from etl import rollback, verify
from etl.store.duckdb_file.versions import INSTRUMENT, ROWS, select_versions
from tests.conftest import Bar, call_stage, query_store
from tests.stores import RENEW_VERSIONS, load_answer, store_of, write_store

FIRST = (("AAPL", "2012-01-03", 58.7, 100), ("IBM", "2012-01-03", 186.3, 200))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a row of IBM in each table, and AAPL beside it."""
    data = tmp_path_factory.mktemp("versions") / "data"
    load_answer(data, "2012-02-01T00:00:00", *FIRST, ("IBM", "2012-01-05", 180.0, 150))
    load_answer(data, "2012-02-02T00:00:00", ("IBM", "2012-01-03", 187.0, 200))
    spans = "'2012-02-01', '2012-02-02', 'a run'"
    write_store(
        store_of(data),
        f"""INSERT INTO corporate_action_revisions
        VALUES ('IBM', '2012-01-04', 'split', 2, NULL, 'files', {spans})""",
        """INSERT INTO corporate_actions
        VALUES ('IBM', '2012-01-04', 'split', 3, NULL, 'files', '2012-02-02', '2012-02-02')""",
        f"INSERT INTO bar_note_revisions VALUES ('IBM', '2012-01-03', 'odd', 'text', {spans})",
        "INSERT INTO bar_notes VALUES ('IBM', '2012-01-03', 'odd', 'more', 'a run', '2012-02-02')",
    )
    recompute(data)
    return data


@pytest.fixture
def data(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    copy: Path = shutil.copytree(template, tmp_path / "data")
    return copy


def recompute(data: Path, *changes: str) -> dict[str, int]:
    """The versions that a load writes after these changes of the tables."""
    write_store(store_of(data), *changes, RENEW_VERSIONS)
    return read_versions(data)


def read_versions(data: Path) -> dict[str, int]:
    return dict(query_store(store_of(data), "SELECT symbol, version FROM instruments"))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE instruments SET exchange = NULL WHERE symbol = 'IBM'",
        "UPDATE instruments SET basis = 'split' WHERE symbol = 'IBM'",
        "UPDATE instruments SET volume_decimals = 3 WHERE symbol = 'IBM'",
        "UPDATE instruments SET dividends_known_at = '2012-03-01' WHERE symbol = 'IBM'",
        "UPDATE ohlcv_known SET known_from = '2012-01-31' WHERE symbol = 'IBM'"
        " AND timestamp = '2012-01-05'",
        "UPDATE ohlcv_revisions SET low = 1",
        "UPDATE ohlcv_revisions SET run_id = 'another'",
        "INSERT INTO ohlcv_revisions FROM ohlcv_revisions",
        "UPDATE corporate_actions SET ratio = 4",
        "UPDATE corporate_actions SET source = 'sample'",
        "UPDATE corporate_action_revisions SET known_to = '2012-02-03'",
        "DELETE FROM corporate_action_revisions",
        "UPDATE bar_notes SET detail = 'less' WHERE reason = 'odd'",
        "UPDATE bar_note_revisions SET known_from = '2012-01-31'",
        "UPDATE gaps SET cause = 'rejected'",
        "DELETE FROM gaps",
    ],
)
def test_a_version_moves_with_each_row_that_an_answer_shows(data: Path, change: str) -> None:
    before = read_versions(data)
    after = recompute(data, change)
    assert after["AAPL"] == before["AAPL"]
    assert after["IBM"] != before["IBM"]


def test_a_version_moves_with_the_span_of_its_calendar(data: Path) -> None:
    before = read_versions(data)
    after = recompute(data, "UPDATE calendars SET last = '2099-01-01'")
    assert after["AAPL"] != before["AAPL"]
    assert after["IBM"] != before["IBM"]


def test_when_a_bar_was_last_confirmed_is_no_part_of_a_version(data: Path) -> None:
    before = read_versions(data)
    confirmed = "UPDATE ohlcv_known SET known_at = '2013-01-01'"
    assert recompute(data, confirmed, "DELETE FROM action_lists") == before


def test_a_load_moves_the_versions_of_the_symbols_that_it_touches(data: Path) -> None:
    before = read_versions(data)
    load_answer(data, "2012-02-03T00:00:00", ("AAPL", "2012-01-04", 59.1, 100))
    after = read_versions(data)
    assert after["IBM"] == before["IBM"]
    assert after["AAPL"] != before["AAPL"]


def test_what_a_load_does_not_touch_is_not_computed_again(data: Path) -> None:
    write_store(store_of(data), "UPDATE instruments SET version = 7 WHERE symbol = 'IBM'")
    load_answer(data, "2012-02-03T00:00:00", ("AAPL", "2012-01-04", 59.1, 100))
    assert read_versions(data)["IBM"] == 7


@pytest.mark.parametrize(
    ("bars", "settings"),
    [
        ([("IBM", "2012-01-03", 190.0, 200)], {}),  # a revision
        pytest.param([("IBM", "2012-01-03", 187.0, 200)], {}, marks=pytest.mark.long),  # confirmed
        ([("IBM", "2012-02-01", 180.0, 0)], {}),  # gaps, and a note
        pytest.param([("MSFT", "2012-01-03", 26.7, 300)], {}, marks=pytest.mark.long),  # a new one
        ([("AAPL", "2012-01-04", 59.0, 100)], {"EXCHANGE": "XLON"}),  # other sessions for all
    ],
)
def test_each_version_is_that_of_the_rows_after_any_load(
    data: Path, bars: list[Bar], settings: dict[str, str]
) -> None:
    load_answer(data, "2012-02-03T00:00:00", *bars, **settings)
    assert dict(query_store(store_of(data), select_versions("store"))) == read_versions(data)


def test_the_same_answers_give_the_same_versions_in_any_store(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        load_answer(tmp_path / name / "data", "2012-02-01T00:00:00", *FIRST)
        found.append(read_versions(tmp_path / name / "data"))
    assert found[0] == found[1]
    load_answer(tmp_path / "one" / "data", "2012-02-01T00:00:00", *FIRST)
    assert read_versions(tmp_path / "one" / "data") == found[0]


def test_a_rollback_brings_the_versions_back(data: Path) -> None:
    before = read_versions(data)
    load_answer(data, "2012-02-03T00:00:00", ("IBM", "2012-01-04", 180.0, 100))
    assert read_versions(data) != before
    assert call_stage(rollback.main) == 0
    assert read_versions(data) == before


def test_verify_finds_a_version_that_is_not_that_of_the_rows(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "each symbol has the version that is computed of its rows"
    for change, line in (("SELECT 1", "ok"), ("UPDATE instruments SET version = 7", "WRONG")):
        write_store(store_of(data), change)
        call_stage(verify.main)
        assert f"{line:5} {said}" in capsys.readouterr().out


LEFT_OUT = {
    "instruments": {"seen_at", "interval", "version"},
    "corporate_actions": {"symbol", "known_at"},
    "corporate_action_revisions": {"symbol", "run_id"},
    "bar_notes": {"symbol"},
    "bar_note_revisions": {"symbol"},
    "gaps": {"symbol"},
}


@pytest.mark.parametrize("table", LEFT_OUT)
def test_a_new_column_is_a_part_of_the_version_or_left_out_here(template: Path, table: str) -> None:
    columns = {row[0] for row in query_store(store_of(template), f"DESCRIBE {table}")}
    covered = INSTRUMENT if table == "instruments" else ROWS[table]
    assert columns == {*covered} | LEFT_OUT[table]
