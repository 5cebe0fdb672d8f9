"""rollback: the version before, under a new generation; a second one undoes the first."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl import load, rollback, verify
from etl.__main__ import main as run_all
from etl.store.duckdb_file import attached
from tests.conftest import call_stage, make_bars, query_store, read_bars, read_record
from tests.server import read_json, serve
from tests.stores import copy_folder, hash_bars, identify, load_answer, store_of, write_store

FIRST, SECOND = "2024-02-01", "2024-02-02"
URL = "/instruments/IBM/ohlcv"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of which the second publication changed a bar and added one."""
    folder = tmp_path_factory.mktemp("published") / "data"
    load_answer(folder, FIRST, ("IBM", "2024-01-02", 5.0))
    load_answer(folder, SECOND, ("IBM", "2024-01-02", 5.5), ("IBM", "2024-01-03", 6.0))
    return folder


@pytest.fixture
def database(published: Path, data_dir: Path) -> Path:
    """This test's own copy of it."""
    return store_of(copy_folder(published, data_dir))


def read_closes(database: Path) -> list[float]:
    return [row[5] for row in read_bars(database)]


def read_counter(database: Path) -> int:
    generation: str = query_store(database, "SELECT generation FROM generation")[0][0]
    return int(generation.partition("-")[0])


def refuse(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a rollback is refused."""
    capsys.readouterr()
    assert call_stage(rollback.main) == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_a_rollback_publishes_the_version_before_under_a_new_generation(
    data_dir: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call_stage(rollback.main) == 0
    assert "INFO rollback: what was 1-" in capsys.readouterr().err
    assert read_closes(database) == [5.0]
    assert read_counter(database) == 3
    assert query_store(database, "FROM ohlcv_revisions") == []
    assert database.stat().st_mode & 0o777 == 0o440


def test_a_second_rollback_undoes_the_first_and_so_on(data_dir: Path, database: Path) -> None:
    hashes = [hash_bars(database)]
    for _ in range(4):
        assert call_stage(rollback.main) == 0
        assert call_stage(verify.main) == 0
        hashes.append(hash_bars(database))
    assert hashes[0] != hashes[1]
    assert hashes == [hashes[0], hashes[1]] * 2 + [hashes[0]]
    assert read_counter(database) == 6


def test_run_records_stay_and_the_rollback_is_one_of_them(data_dir: Path, database: Path) -> None:
    before = set(query_store(database, "SELECT run_id, received, inserted, revised FROM etl_runs"))
    symbols = set(query_store(database, "FROM etl_run_symbols"))
    assert call_stage(rollback.main) == 0
    after = query_store(database, "SELECT run_id, received, inserted, revised FROM etl_runs")
    record = read_record(data_dir)
    assert set(after) == before | {(record["run_id"], 0, 0, 0)}
    assert set(query_store(database, "FROM etl_run_symbols")) >= symbols
    assert record["stages"]["rollback"]["restored"].startswith("1-")
    assert query_store(database, "SELECT run_id FROM generation") == [(record["run_id"],)]


def test_the_next_load_goes_on_from_what_was_rolled_back(data_dir: Path, database: Path) -> None:
    assert call_stage(rollback.main) == 0
    record = load_answer(data_dir, SECOND, ("IBM", "2024-01-02", 5.5), ("IBM", "2024-01-03", 6.0))
    assert (record["inserted"], record["revised"]) == (1, 1)
    assert read_closes(database) == [5.5, 6.0]
    assert call_stage(verify.main) == 0


def test_a_confirmation_of_what_was_rolled_back_is_forgotten(data_dir: Path) -> None:
    for at, close in ((FIRST, 5.0), ("2024-02-09", 5.0)):
        load_answer(data_dir, at, ("IBM", "2024-01-02", close))
    assert call_stage(rollback.main) == 0
    assert load_answer(data_dir, SECOND, ("IBM", "2024-01-02", 6.0))["revised"] == 1


def test_the_version_before_copied_in_the_place_of_a_damaged_one_takes_the_newest_answer_again(
    data_dir: Path, database: Path
) -> None:
    database.unlink()
    shutil.copy(attached.previous_of(database), database)
    record = load_answer(data_dir, SECOND, ("IBM", "2024-01-02", 5.5), ("IBM", "2024-01-03", 6.0))
    assert (record["inserted"], record["revised"], record["stale"]) == (1, 1, 0)
    assert read_closes(database) == [5.5, 6.0]
    assert call_stage(verify.main) == 0


@pytest.mark.parametrize("damage", [b"", b"no database", b"\0" * 20_000])
def test_a_damaged_present_version_is_rolled_back_from(
    data_dir: Path, database: Path, damage: bytes
) -> None:
    database.unlink()
    database.write_bytes(damage)
    assert call_stage(rollback.main) == 0
    assert read_closes(database) == [5.0]
    assert read_counter(database) == 3
    assert call_stage(verify.main) == 0


def test_a_missing_present_version_is_rolled_back_from(data_dir: Path, database: Path) -> None:
    database.unlink()
    assert call_stage(rollback.main) == 0
    assert read_closes(database) == [5.0]
    assert read_counter(database) == 3


def test_a_rollback_to_a_damaged_version_is_refused_and_changes_nothing(
    data_dir: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = identify(database)
    previous = database.with_name("market_data.previous.duckdb")
    previous.unlink()
    previous.write_bytes(b"no database")
    assert "market_data.previous.duckdb is damaged or no DuckDB file" in refuse(capsys)
    assert identify(database) == before
    assert not list(data_dir.glob("*.next*"))


def test_without_a_version_before_there_is_one_line_and_exit_1(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = "there is no version before this one (market_data.previous.duckdb): nothing to do"
    assert wanted in refuse(capsys)
    load_answer(data_dir, FIRST, ("IBM", "2024-01-02", 5.0))
    assert wanted in refuse(capsys)
    assert not list((data_dir / "runs").glob("*rollback*"))


def test_what_a_user_wrote_into_either_version_is_kept(data_dir: Path, database: Path) -> None:
    write_store(database, "INSERT INTO ohlcv_data VALUES ('2024-01-04', 'IBM', 7, 8, 6, 7, 9)")
    assert call_stage(rollback.main) == 0
    assert call_stage(rollback.main) == 0
    assert read_closes(database) == [5.5, 6.0, 7.0]


def test_another_database_can_be_named(data_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "store.duckdb"
    other.parent.mkdir()
    for close in (5.0, 6.0):
        bars = make_bars(tmp_path / "bars.parquet", [("IBM", "2024-01-02", close)])
        assert call_stage(load.main, "--input", bars, "--database", other) == 0
    assert call_stage(rollback.main, "--database", other) == 0
    assert read_closes(other) == [5.0]
    assert not store_of(data_dir).exists()


def test_the_sample_comes_back_when_the_real_bars_are_rolled_back(own_sample: Path) -> None:
    load_answer(own_sample, FIRST, ("IBM", "2024-01-02", 5.0))
    assert len(read_bars(store_of(own_sample))) == 1
    assert call_stage(rollback.main) == 0
    assert len(read_bars(store_of(own_sample))) == 12_154
    assert call_stage(verify.main) == 0
    assert call_stage(run_all, "--source", "sample") == 0


# The API


def test_the_api_serves_the_rolled_back_bars_and_never_an_older_generation_after_a_newer(
    data_dir: Path, database: Path
) -> None:
    def ask() -> tuple[int, list[Any], str]:
        answer: httpx.Response = client.get(URL)
        counter = int(answer.headers["x-data-generation"].partition("-")[0])
        return counter, [row["close"] for row in answer.json()["data"]], answer.headers["etag"]

    with serve(data_dir) as client:
        seen = [ask()]
        for _ in range(3):
            assert call_stage(rollback.main) == 0
            seen.append(ask())
        assert read_json(client, "/health")["status"] == "ok"
        runs = read_json(client, "/etl/runs")["data"]
    assert [counter for counter, _, _ in seen] == [2, 3, 4, 5]
    assert [closes for _, closes, _ in seen] == [[5.5, 6.0], [5.0], [5.5, 6.0], [5.0]]
    etags = [etag for _, _, etag in seen]
    assert etags == [*etags[:2], *etags[:2]]  # of what the symbol is, whichever publication it is
    assert etags[0] != etags[1]
    assert len(runs) == 5


def test_the_api_goes_on_from_the_last_good_version_until_a_damaged_one_is_rolled_back(
    data_dir: Path, database: Path
) -> None:
    with serve(data_dir) as client:
        good = read_json(client, URL)["data"]
        fresh = data_dir / "fresh"
        fresh.write_bytes(b"no database")
        fresh.replace(database)
        assert read_json(client, URL)["data"] == good
        assert read_json(client, "/health")["status"] == "degraded"
        assert call_stage(rollback.main) == 0
        assert [row["close"] for row in read_json(client, URL)["data"]] == [5.0]
        assert read_json(client, "/health")["status"] == "ok"
