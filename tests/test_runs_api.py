"""/etl/runs of runs that published nothing: failed, killed, under way."""

import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from api import models
from api.store.run_records import read_record
from etl import transform
from tests.conftest import call_stage
from tests.conftest import read_record as read_last_record
from tests.server import check_answer, read_json, serve, walk_pages
from tests.test_quality_api import WEEK, load_bars, read_column


def fail_run(data_dir: Path) -> str:
    """A run that fails, and publishes nothing; its id."""
    assert call_stage(transform.main, "--input", data_dir / "inbox" / "nowhere.csv") == 1
    run_id: str = read_last_record(data_dir)["run_id"]
    return run_id


def write_record(data_dir: Path, run_id: str, **stages: dict[str, Any]) -> str:
    path = data_dir / "runs" / f"{run_id}.json"
    path.parent.mkdir(exist_ok=True)
    for stage in stages.values():
        stage.setdefault("started_at", "2020-01-01T00:00:00.000Z")
    path.write_text(json.dumps({"run_id": run_id, "stages": stages}))
    return run_id


def read_states(client: httpx.Client) -> dict[str, str]:
    return {run["run_id"]: run["status"] for run in read_json(client, "/etl/runs")["data"]}


def test_a_failed_run_shows_at_once_and_no_kept_answer_hides_it(data_dir: Path) -> None:
    good = load_bars(data_dir, [("IBM", WEEK[0], 5.0)])
    with serve(data_dir) as client:
        before = [client.get("/etl/runs") for _ in range(2)]
        assert [answer.headers["x-cache"] for answer in before] == ["MISS", "HIT"]
        failed = fail_run(data_dir)
        known = {"If-None-Match": before[0].headers["etag"]}
        after = client.get("/etl/runs", headers=known)
        assert after.status_code == 200
        assert after.headers["etag"] != before[0].headers["etag"]
        assert after.headers["x-data-generation"] == before[0].headers["x-data-generation"]
        assert read_states(client) == {failed: "failed", good: "ok"}
        run = read_json(client, f"/etl/runs/{failed}")
        check_answer(run, models.Run)
        assert "nowhere.csv does not exist" in run["stages"]["transform"]["error"]
        assert str(data_dir.parent) not in client.get(f"/etl/runs/{failed}").text
        known = {"If-None-Match": after.headers["etag"]}
        assert client.get("/etl/runs", headers=known).status_code == 304


def test_without_a_store_the_run_that_failed_shows(data_dir: Path) -> None:
    with serve(data_dir) as client:
        assert client.get("/etl/runs").status_code == 503
        failed = fail_run(data_dir)
        assert read_states(client) == {failed: "failed"}
        check_answer(read_json(client, f"/etl/runs/{failed}"), models.Run)
        assert client.get("/etl/runs/20990101T000000Z-000000").status_code == 404


def test_a_stage_that_fails_after_its_run_was_published_shows(data_dir: Path) -> None:
    good = load_bars(data_dir, [("IBM", WEEK[0], 5.0)])
    record = read_last_record(data_dir)
    with serve(data_dir) as client:
        assert read_states(client) == {good: "ok"}
        error = {"status": "failed", "error": "the disk is full"}
        write_record(data_dir, good, **{**record["stages"], "load": error})
        assert read_states(client) == {good: "failed"}
        run = read_json(client, f"/etl/runs/{good}")
        assert run["stages"]["load"]["error"] == "the disk is full"


def test_a_run_without_an_end_is_under_way_if_it_is_the_last_and_else_was_killed(
    data_dir: Path,
) -> None:
    load_bars(data_dir, [("IBM", WEEK[0], 5.0)])
    first = write_record(data_dir, "20990101T000000Z-00000a", extract={"status": "running"})
    with serve(data_dir) as client:
        assert read_states(client)[first] == "running"
        done = {"status": "ok", "finished_at": "2020-01-01T00:00:02.000Z", "source": "sample"}
        last = write_record(data_dir, "20990101T000001Z-00000b", extract=done)
        assert [read_states(client)[each] for each in (first, last)] == ["killed", "ok"]
        for run_id in (first, last):
            check_answer(read_json(client, f"/etl/runs/{run_id}"), models.Run)


def test_stored_runs_and_records_are_paged_as_one_list_newest_first(data_dir: Path) -> None:
    stored = [load_bars(data_dir, [("IBM", day, 5.0)]) for day in WEEK[:3]]
    second = stored[1][:16]  # two records of the second of a stored run: before and after it
    started = read_last_record(data_dir)["stages"]["load"]["started_at"]
    early = write_record(data_dir, f"{second}-00000a", extract={"status": "failed"})
    late = {"status": "failed", "started_at": f"2999{started[4:]}"}
    late_id = write_record(data_dir, f"{second}-00000b", extract=late)
    old = write_record(data_dir, "20200101T000000Z-00000c", extract={"status": "failed"})
    new = write_record(data_dir, "20990101T000000Z-00000d", extract={"status": "failed"})
    with serve(data_dir) as client:
        whole = read_column(client, "/etl/runs", "run_id")
        assert sorted(whole) == sorted([*stored, early, late_id, old, new])
        assert (whole[0], whole[-1]) == (new, old)
        assert whole.index(late_id) < whole.index(stored[1]) < whole.index(early)
        for limit in (1, 2, 3, 6):
            pages = walk_pages(client, f"/etl/runs?limit={limit}")
            assert [row["run_id"] for page in pages for row in page["data"]] == whole


def test_what_is_no_record_of_a_run_is_passed_over(data_dir: Path) -> None:
    good = load_bars(data_dir, [("IBM", WEEK[0], 5.0)])
    runs = data_dir / "runs"
    (runs / "20990101T000000Z-00000a.json").write_text("{")
    (runs / "20990101T000000Z-00000b.json").write_text('{"stages": {}}')
    (runs / "20990101T000000Z-00000c.json").mkdir()
    write_record(data_dir, "notes", extract={"status": "ok"})
    (data_dir / "secret.json").write_text((runs / f"{good}.json").read_text())
    with serve(data_dir) as client:
        assert read_states(client) == {good: "ok"}
        for name in ("notes", "..%2Fsecret", "%2E%2E", "20990101T000000Z-00000a"):
            assert client.get(f"/etl/runs/{name}").status_code == 404


@pytest.mark.parametrize("limit", ["", "?limit=1"])
def test_a_record_says_of_a_run_what_the_store_says_of_it(restated_dir: Path, limit: str) -> None:
    with serve(restated_dir) as client:
        for row in read_json(client, "/etl/runs")["data"]:
            record = read_record(restated_dir / "runs", row["run_id"], is_last=False)
            assert record is not None
            assert {**row, "finished_at": None} == {**record.summary, "finished_at": None}
            run = read_json(client, f"/etl/runs/{row['run_id']}{limit}")
            assert run["symbols"] == record.symbols
            assert run["failures"] == orjson.loads(record.failures)
            assert run["stages"].keys() == orjson.loads(record.stages).keys()
