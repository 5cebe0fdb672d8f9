"""METRICS_TEXTFILE: what each command of the ETL leaves for node_exporter, however it ends."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest
from prometheus_client.parser import text_string_to_metric_families

from etl import load, minutes, transform
from etl.__main__ import main as run_all
from etl.contracts.run_metrics import HELP, Sample, describe_budget
from etl.market.sessions import MARGIN, list_sessions, name_source
from etl.reporting.textfile import NAME, show
from etl.store.duckdb_file import attached, published
from etl.store.due import find_due
from tests.conftest import call_stage

Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(path: Path) -> Found:
    families = list(text_string_to_metric_families(path.read_text()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "samples of one name stand together"
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def get(found: Found, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


@pytest.fixture
def folder(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "textfiles"
    path.mkdir()
    monkeypatch.setenv("METRICS_TEXTFILE", str(path))
    return path


def test_a_run_tells_its_stages_rows_and_store(folder: Path, data_dir: Path) -> None:
    assert call_stage(run_all, "--source", "sample") == 0
    assert [path.name for path in folder.iterdir()] == [NAME]
    found = read(folder / NAME)
    assert get(found, "mds_etl_last_run_success") == 1
    assert get(found, "mds_etl_command_success", command="etl") == 1
    for stage in ("extract", "transform", "load"):
        assert get(found, "mds_etl_stage_success", stage=stage) == 1
    record = json.loads(next((data_dir / "runs").glob("*.json")).read_text())
    inserted = record["stages"]["load"]["inserted"]
    assert get(found, "mds_etl_rows", outcome="inserted") == inserted > 10_000
    newest = get(found, "mds_newest_bar_timestamp_seconds", exchange="XNYS")
    assert newest is not None
    assert datetime.fromtimestamp(newest, UTC).hour == 0
    assert not [name for name, _ in found if name == "mds_data_due_timestamp_seconds"]


def test_a_run_that_fails_is_told_and_nothing_to_do_is_no_failure(
    folder: Path, data_dir: Path
) -> None:
    assert call_stage(run_all, "--source", "sample") == 0
    succeeded = get(read(folder / NAME), "mds_etl_last_success_timestamp_seconds")
    (data_dir / "clean_data.parquet").write_bytes(b"no Parquet")
    assert call_stage(load.main) == 1
    found = read(folder / NAME)
    assert get(found, "mds_etl_last_run_success") == 0
    assert get(found, "mds_etl_command_success", command="load") == 0
    assert call_stage(transform.main) == 0
    assert call_stage(load.main) == 0  # nothing to publish
    found = read(folder / NAME)
    assert get(found, "mds_etl_last_run_success") == 1
    again = get(found, "mds_etl_last_success_timestamp_seconds")
    assert succeeded is not None
    assert again is not None
    assert again >= succeeded


def test_a_failure_before_any_record_is_told_too(folder: Path, data_dir: Path) -> None:
    assert call_stage(load.main) == 1
    assert get(read(folder / NAME), "mds_etl_command_success", command="load") == 0


def test_a_file_may_be_named_and_what_hinders_it_changes_no_exit_code(
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = tmp_path / "new" / "mine.prom"
    monkeypatch.setenv("METRICS_TEXTFILE", str(named))
    assert call_stage(run_all, "--source", "sample") == 0
    assert get(read(named), "mds_etl_last_run_success") == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METRICS_TEXTFILE", str(tmp_path / "file" / "below.prom"))
    assert call_stage(load.main) == 0
    assert "METRICS_TEXTFILE was not written" in capsys.readouterr().err


def test_labels_are_quoted() -> None:
    odd = 'a"b\\c\nd'
    text = show([Sample("mds_store_gaps", 2, {"cause": odd})])
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["mds_store_gaps"].samples[0].labels == {"cause": odd}
    assert set(families) == set(HELP), "each is told, also where it has no sample"


@pytest.mark.parametrize(
    ("now", "left"), [("2026-11-24T23:00:00Z", 3), ("2026-11-25T05:00:00Z", 25)]
)
def test_the_calls_of_yesterday_are_no_calls_of_today(now: str, left: int) -> None:
    extract = {"calls_left": 3, "calls_per_day": 25, "calls_day_ends": "2026-11-25T05:00:00Z"}
    (first, _) = describe_budget(extract, datetime.fromisoformat(now))
    assert first.value == left


@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize(
    ("exchange", "newest", "due"),
    [
        ("XNYS", "2012-12-21", "2012-12-24T18:00:00Z"),  # closes early
        ("XNYS", "2026-11-25", "2026-11-27T18:00:00Z"),  # after Thanksgiving
        ("24/7", "2026-11-25", "2026-11-27T00:00:00Z"),
        ("XLON", "2026-04-02", "2026-04-07T15:30:00Z"),  # over Easter
    ],
)
def test_newer_bars_are_due_when_the_next_session_closes(
    exchange: str, newest: str, due: str, is_listed: bool
) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.execute("ATTACH ':memory:' AS store")
        attached.create_tables(connection, "store")
        published.name_known(connection)
        connection.execute(
            "INSERT INTO store.instruments BY NAME SELECT 'X' AS symbol, ? AS exchange,"
            " ?::TIMESTAMP AS last, 'files' AS source",
            [exchange, newest],
        )
        if is_listed:
            list_sessions_of(connection, exchange, date.fromisoformat(newest) - MARGIN)
        connection.execute(
            "CREATE TABLE incoming (symbol VARCHAR, timestamp TIMESTAMP, source VARCHAR)"
        )
        connection.execute("CREATE TABLE symbol_exchanges (symbol VARCHAR, exchange VARCHAR)")
        assert find_due(connection) == {exchange: due}


def list_sessions_of(connection: duckdb.DuckDBPyConnection, exchange: str, first: date) -> None:
    """What a load has written of a calendar."""
    connection.execute(
        "INSERT INTO store.calendars BY NAME SELECT ? AS exchange, ? AS source, ? AS listed_from",
        [exchange, name_source(), first],
    )
    connection.register("listed", list_sessions(exchange, first))
    connection.execute("INSERT INTO store.sessions BY NAME FROM listed")


def test_minutes_that_fail_or_end_well_do_not_hide_what_became_of_the_days(
    folder: Path, data_dir: Path
) -> None:
    of_minutes = ["--source", "sample", "--symbols", "IBM", "--since", "2013-03-01"]
    assert call_stage(run_all, "--source", "sample", "--symbols", "IBM") == 0
    days = read(folder / NAME)
    assert call_stage(minutes.main, *of_minutes) == 0
    found = read(folder / NAME)
    assert get(found, "mds_etl_last_run_success", bars="minutes") == 1
    assert get(found, "mds_etl_command_success", command="minutes") == 1
    of_days = {
        key: value
        for key, value in days.items()
        if key[0].startswith(("mds_etl_last", "mds_etl_rows", "mds_store"))
    }
    assert len(of_days) > 10
    assert of_days.items() <= found.items(), "what the days said is said as before"
    (data_dir / "minutes" / "current.json").write_text("damaged")
    assert call_stage(minutes.main, *of_minutes) == 1
    found = read(folder / NAME)
    assert get(found, "mds_etl_last_run_success", bars="minutes") == 0
    assert get(found, "mds_etl_last_run_success") == 1
    assert call_stage(run_all, "--source", "sample", "--symbols", "IBM") == 0
    assert get(read(folder / NAME), "mds_etl_last_run_success", bars="minutes") == 0
