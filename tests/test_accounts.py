"""The outcome of every row, and the command that recomputes it from the files and the database."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from api.routes.health import read_last_run
from api.store.run_records import read_unstored
from etl import extract, report, rollback, transform, verify
from etl.__main__ import main as run_all
from etl.base import run_records
from tests.conftest import call_stage, clean_environ, query_store, read_record
from tests.stores import RENEW_VERSIONS, load_answer, store_of, write_store

HEADER = "Symbol,Date,Open,High,Low,Close,Volume"
GOOD = "A,2024-01-02,5,6,4,5,7"
FATES = ("inserted", "revised", "unchanged", "stale", "rejected", "out_of_range")
COUNTS = ("received", *FATES, "duplicates")


def run_etl(
    data_dir: Path,
    *rows: str,
    options: Sequence[str] = (),
    code: int = 0,
    fetched: float | None = None,
) -> str:
    """Extract, transform and load one CSV file, written now or at `fetched`; the run's id."""
    inbox = data_dir.parent / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / "bars.csv").write_text("\n".join((HEADER, *rows)) + "\n")
    if fetched is not None:
        os.utime(inbox / "bars.csv", (fetched, fetched))
    args = ("--source", "files", "--path", inbox, *options)
    assert call_stage(run_all, *args) == code
    run_id: str = read_record(data_dir)["run_id"]
    return run_id


def read_fates(data_dir: Path, run_id: str) -> dict[str, dict[str, int]]:
    """symbol → the counts that are not 0, of one run in the published file."""
    rows = query_store(
        store_of(data_dir),
        f"SELECT symbol, {', '.join(COUNTS)} FROM etl_run_symbols WHERE run_id = '{run_id}'",
    )
    return {
        row[0]: {n: count for n, count in zip(COUNTS, row[1:], strict=True) if count}
        for row in rows
    }


def test_every_row_of_every_run_is_accounted_for_symbol_by_symbol(data_dir: Path) -> None:
    first = run_etl(
        data_dir,
        GOOD,
        "A,2024-01-03,5,6,4,5,7",
        "a ,2024-01-03,5,6,4,5,7",  # the same bar
        "A,2024-01-04,5,4,6,5,7",  # high below low
        ",2024-01-04,5,6,4,5,7",  # no symbol
        "B,2024-01-02,5,6,4,five,7",
        "C,2023-12-29,5,6,4,5,7",
        "C,2024-01-02,5,6,4,5,7",
        options=("--start", "2024-01-01"),
    )
    second = run_etl(data_dir, GOOD, "A,2024-01-03,5,6,4,5.5,7", "A,2024-01-05,5,6,4,5,7")
    assert read_fates(data_dir, first) == {
        "": {"received": 1, "rejected": 1},
        "A": {"received": 4, "inserted": 2, "rejected": 2, "duplicates": 1},
        "B": {"received": 1, "rejected": 1},
        "C": {"received": 2, "inserted": 1, "out_of_range": 1},
    }
    assert read_fates(data_dir, second) == {
        "A": {"received": 3, "inserted": 1, "revised": 1, "unchanged": 1}
    }
    sums = query_store(
        store_of(data_dir),
        f"""SELECT run_id, received, received - ({" + ".join(FATES)}) FROM etl_runs
        ORDER BY started_at""",
    )
    assert sums == [(first, 8, 0), (second, 3, 0)] or sums == [(second, 3, 0), (first, 8, 0)]
    assert call_stage(verify.main) == 0


def test_a_run_that_went_no_further_than_transform_contradicts_nothing(data_dir: Path) -> None:
    run_etl(data_dir, GOOD)
    options = ("--source", "files", "--path", data_dir.parent / "inbox")
    assert call_stage(extract.main, *options) == 0
    assert call_stage(transform.main) == 0
    unloaded = read_record(data_dir)["run_id"]
    run_etl(data_dir, "A,2024-01-03,5,6,4,5,7")
    assert read_fates(data_dir, unloaded) == {"A": {"received": 1}}
    assert call_stage(verify.main) == 0


def test_stale_rows_are_accounted_for(data_dir: Path) -> None:
    load_answer(data_dir, "2024-02-02", ("A", "2024-01-02", 5.0))
    load_answer(data_dir, "2024-02-01", ("A", "2024-01-02", 4.0), ("A", "2024-01-03", 4.0))
    [[run_id]] = query_store(store_of(data_dir), "SELECT run_id FROM generation")
    assert read_fates(data_dir, run_id) == {"A": {"received": 2, "inserted": 1, "stale": 1}}


def test_failed_killed_and_empty_runs_appear_with_the_next_publication(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = run_etl(data_dir, GOOD)
    fetched = (data_dir.parent / "inbox" / "bars.csv").stat().st_mtime
    unchanged = run_etl(data_dir, GOOD, fetched=fetched)
    failed = run_etl(data_dir, "A,2024-01-03,5,6,4,five,7", code=1)
    killed = {"extract": {"status": "running", "started_at": "2024-01-05T00:00:00.000Z"}}
    record = {"run_id": "20240105T000000Z-000000", "stages": killed}
    (data_dir / "runs" / "20240105T000000Z-000000.json").write_text(json.dumps(record))
    (data_dir / "runs" / "half.json").write_text('{"run_id": "half", "stag')
    assert query_store(store_of(data_dir), "SELECT run_id FROM etl_runs") == [(good,)]

    last = run_etl(data_dir, "A,2024-01-05,5,6,4,5,7")
    found = query_store(store_of(data_dir), "SELECT run_id, status, unchanged FROM etl_runs")
    assert set(found) == {
        (good, "ok", 0),
        (unchanged, "ok", 1),
        (failed, "failed", 0),
        ("20240105T000000Z-000000", "killed", 0),
        (last, "ok", 0),
    }
    stages = query_store(store_of(data_dir), f"FROM etl_runs WHERE run_id = '{failed}'")[0][-1]
    assert "no clean row" in json.loads(stages)["transform"]["error"]
    assert call_stage(verify.main) == 0


# verify


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with three publications, a revision, rejects, a gap and a note."""
    folder = tmp_path_factory.mktemp("proven") / "data"
    with pytest.MonkeyPatch.context() as patch:
        folder.mkdir()
        for name, value in clean_environ(folder).items():
            patch.setenv(name, value)
        bad = "A,2024-01-04,5,4,6,5,7"
        run_etl(folder, GOOD, "A,2024-01-05,5,6,4,5,0", "B,2024-01-02,5,6,4,5,7")
        run_etl(folder, GOOD, "A,2024-01-05,5,6,4,5.5,0", bad)
        run_etl(folder, GOOD, "A,2024-01-08,5,6,4,5.5,7", bad)
        assert call_stage(verify.main) == 0
    return folder


@pytest.fixture
def own_proven(proven: Path, data_dir: Path) -> Path:
    shutil.copytree(proven, data_dir, dirs_exist_ok=True)
    return data_dir


def list_wrong(capsys: pytest.CaptureFixture[str], code: int = 1) -> list[str]:
    """What verify says is wrong."""
    capsys.readouterr()
    assert call_stage(verify.main) == code
    said = capsys.readouterr()
    if code:
        assert said.err.startswith("ERROR verify: ")
        assert len(said.err.splitlines()) == 1
    return [row for row in said.out.splitlines() if not row.startswith("ok ")]


def test_verify_says_ok_line_by_line_and_changes_nothing(
    own_proven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def list_files() -> dict[Path, tuple[bytes, int]]:
        paths = (p for p in own_proven.rglob("*") if p.is_file() and p.name != "etl.lock")
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}

    before = list_files()
    capsys.readouterr()
    assert call_stage(verify.main) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 26
    assert all(line.startswith("ok    ") for line in lines)
    assert list_files() == before


BARS = "instruments as the bars say: A"
KNOWN = "each bar has one row that says since when it is known: A"
ONCE = "no corporate action or note is known twice at a time, or ends before it begins"
SPLIT = "'A', '2024-01-05', 'split', 2.0, NULL, 'files'"
DAMAGES = {
    "a changed price": (
        "UPDATE ohlcv_data SET close = 5.25 WHERE timestamp = '2024-01-05'",
        [BARS],
    ),
    "a changed volume": (
        "UPDATE ohlcv_data SET volume = NULL WHERE symbol = 'B'",
        ["instruments as the bars say: B"],
    ),
    "a missing bar": (
        "DELETE FROM ohlcv_data WHERE symbol = 'A' AND timestamp = '2024-01-08'",
        [BARS, KNOWN],
    ),
    "a moved bar": (
        "UPDATE ohlcv_data SET timestamp = '2024-01-04' WHERE timestamp = '2024-01-05'",
        [
            *(BARS, KNOWN, "no revision is of an unknown bar", "no note is of an unknown bar"),
            "no gap has a bar",
        ],
    ),
    "a bar and its instrument changed": (
        "UPDATE instruments SET digest = xor(digest, 1) WHERE symbol = 'B'",
        ["instruments as the bars say: B", "each symbol's bars are those of the last run"],
    ),
    "a wrong last close": (
        "UPDATE instruments SET last_close = 1 WHERE symbol = 'A'",
        [BARS],
    ),
    "a missing instrument": ("DELETE FROM instruments WHERE symbol = 'B'", [
        "instruments as the bars say: B"]),
    "a wrong count of a symbol": (
        "UPDATE etl_run_symbols SET inserted = inserted + 1 WHERE symbol = 'B'",
        ["each run's fates add up, symbol by symbol", "each run's totals are the sums"],
    ),
    "a wrong count of a run": (
        "UPDATE etl_runs SET unchanged = 99 WHERE revised > 0",
        ["each run's totals are the sums"],
    ),
    "a wrong count in all places": (
        "UPDATE etl_run_symbols SET inserted = 5 WHERE symbol = 'B';"
        "UPDATE etl_runs SET inserted = 7 WHERE run_id ="
        " (SELECT run_id FROM etl_run_symbols WHERE symbol = 'B')",
        ["each run's fates add up, symbol by symbol"],
    ),
    "a missing symbol of a run": (
        "DELETE FROM etl_run_symbols WHERE symbol = 'B'",
        ["each run's totals are the sums"],
    ),
    "no symbol of a run": (
        "DELETE FROM etl_run_symbols WHERE run_id = (SELECT run_id FROM generation)",
        ["each run's totals are the sums", "each symbol's bars are those of the last run"],
    ),
    "a missing run": (
        "DELETE FROM etl_runs WHERE run_id = (SELECT run_id FROM generation)",
        ["each run's totals are the sums", "each symbol's bars are those of the last run"],
    ),
    "a wrong digest of a run": (
        "UPDATE etl_run_symbols SET digest = '0' WHERE symbol = 'B'",
        ["each symbol's bars are those of the last run that loaded it: B"],
    ),
    "a bar known since never": (
        "DELETE FROM ohlcv_known WHERE symbol = 'B'",
        [
            "each bar has one row that says since when it is known: B",
            "instruments name the newest answer that each bar and action stands on: B",
        ],
    ),
    "a bar known twice": (
        "INSERT INTO ohlcv_known FROM ohlcv_known WHERE symbol = 'B'",
        ["each bar has one row that says since when it is known: B"],
    ),
    "a bar known before its old values were over": (
        "UPDATE ohlcv_known SET known_from = known_from - INTERVAL 1 DAY WHERE symbol = 'A'",
        ["the values of each bar follow one another without a gap in time: A"],
    ),
    "a revision of nothing": (
        "UPDATE ohlcv_revisions SET symbol = 'Z'",
        ["no revision is of an unknown bar, or ends before it begins: Z"],
    ),
    "a revision backwards": (
        "UPDATE ohlcv_revisions SET known_to = known_from - INTERVAL 1 DAY",
        [
            "the values of each bar follow one another without a gap in time: A",
            "no revision is of an unknown bar, or ends before it begins: A",
        ],
    ),
    "a note on nothing": (
        "UPDATE bar_notes SET symbol = 'Z'",
        ["no note is of an unknown bar: Z"],
    ),
    "a gap where a bar is": (
        "INSERT INTO gaps VALUES ('A', '2024-01-05', 'not delivered')",
        ["no gap has a bar: A 2024-01-05"],
    ),
    "an action that ended before it began": (
        f"INSERT INTO corporate_action_revisions VALUES ({SPLIT}, '2024-01-09', '2024-01-08', '')",
        [f"{ONCE}: A"],
    ),
    "an action known twice at a time": (
        f"""INSERT INTO corporate_action_revisions VALUES
        ({SPLIT}, '2024-01-06', '2024-01-09', ''), ({SPLIT}, '2024-01-08', '2024-01-10', '')""",
        [f"{ONCE}: A"],
    ),
    "an action that a newer list has not": (
        f"""INSERT INTO corporate_actions VALUES ({SPLIT}, '2024-01-08', '2024-01-08');
        INSERT INTO action_lists VALUES ('A', 'split', '-infinity', 'infinity', '2024-01-09');
        UPDATE instruments SET splits_known_at = '2024-01-09' WHERE symbol = 'A'""",
        ["each action is no older than a list of all actions of its days: A"],
    ),
    "a list that the instrument does not name": (
        """INSERT INTO action_lists
        VALUES ('A', 'dividend', '2024-01-02', '2024-01-08', '2024-01-09')""",
        ["instruments name the newest answer that each bar and action stands on: A"],
    ),
    "a note known twice at a time": (
        """INSERT INTO bar_note_revisions
        SELECT symbol, timestamp, reason, detail, known_from, known_from + INTERVAL 1 DAY, run_id
        FROM bar_notes WHERE symbol = 'A' LIMIT 1""",
        [f"{ONCE}: A"],
    ),
    "an answer taken twice": (
        "INSERT INTO answers SELECT 'v', 1, TIMESTAMP '2024-01-09' FROM range(2)",
        ["no answer is taken twice: v 1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("query", "wanted"), DAMAGES.values(), ids=DAMAGES)
def test_verify_names_each_line_that_does_not_hold(
    own_proven: Path, capsys: pytest.CaptureFixture[str], query: str, wanted: list[str]
) -> None:
    write_store(store_of(own_proven), query, RENEW_VERSIONS)
    wrong = list_wrong(capsys)
    assert len(wrong) == len(wanted), wrong
    for line, start in zip(wrong, wanted, strict=True):
        assert line.startswith(f"WRONG {start}"), line


@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("name", ["raw_data", "clean_data", "rejected_data"])
def test_verify_names_the_file_of_which_a_byte_has_changed(
    own_proven: Path, capsys: pytest.CaptureFixture[str], name: str, where: str
) -> None:
    path = own_proven / f"{name}.parquet"
    content = bytearray(path.read_bytes())
    place = {"first": 0, "middle": 40, "last": len(content) - 1}[where]
    content[place] ^= 0xFF
    path.write_bytes(content)
    wrong = list_wrong(capsys)
    assert wrong
    assert all(line.startswith(f"WRONG {name}.parquet ") for line in wrong)


def test_verify_names_a_file_that_has_other_rows_than_were_counted(
    own_proven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(
        p
        for p in (own_proven / "runs").glob("*.json")
        if p.stem == run_records.read_run_id(own_proven / "clean_data.parquet")
    )
    record: dict[str, Any] = json.loads(path.read_text())
    record["stages"]["transform"]["clean"] += 1
    record["stages"]["transform"]["symbols"]["A"]["clean"] += 1
    path.write_text(json.dumps(record))
    assert list_wrong(capsys) == [
        "WRONG clean_data.parquet has the rows that were counted: 2 rows, 3 counted",
        "WRONG clean_data.parquet has them symbol by symbol: A",
    ]
    path.unlink()
    assert [line.partition(" has ")[0] for line in list_wrong(capsys)] == [
        "WRONG raw_data.parquet",
        "WRONG clean_data.parquet",
        "WRONG rejected_data.parquet",
    ]


def test_verify_of_a_damaged_or_missing_database_is_one_line_and_exit_1(
    own_proven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = store_of(own_proven)
    database.chmod(0o644)
    content = bytearray(database.read_bytes())
    for place in range(3 * 4096, len(content), 997):
        content[place] ^= 0xFF
    database.write_bytes(content)
    capsys.readouterr()
    assert call_stage(verify.main) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    database.unlink()
    assert call_stage(verify.main) == 1
    assert "does not exist: run the ETL first" in capsys.readouterr().err


def test_verify_holds_after_every_kind_of_run(own_proven: Path) -> None:
    run_etl(own_proven, "A,2024-01-05,5,6,4,5.75,0")
    assert call_stage(verify.main) == 0
    assert call_stage(transform.main, "--start", "2024-01-06") == 1  # leaves nothing clean
    assert call_stage(rollback.main) == 0
    run_etl(own_proven, "A,2024-01-03,5,6,4,5,7", "B,2024-01-03,5,6,4,5,7")
    run_etl(own_proven, "A,2024-01-03,5,6,4,5,7", "B,2024-01-03,5,6,4,5,7")
    assert call_stage(verify.main) == 0


def make_record(run_id: Any = "20240101T000000Z-aaaaaa", **load: Any) -> str:
    """The record of a run that loaded; `load` is what that stage says otherwise."""
    entry = {"status": "ok", "started_at": "2024-01-01T00:00:00Z", **load}
    return json.dumps({"run_id": run_id, "stages": {"load": entry}})


DAMAGED = [
    "[" * 100_000,
    '{"run_id": "20240101T000000Z-aaaaaa", "stages": {}}',
    '{"run_id": "20240101T000000Z-aaaaaa", "stages": []}',
    make_record(run_id=5),
    make_record(run_id="20240101T000000Z-bbbbbb"),  # a copy of another's record
    make_record(started_at="yesterday"),
    make_record(status=None),
    make_record(calls="many"),
    make_record(failures=[]),
    make_record(symbols={"A": {"inserted": float("inf")}}),
    make_record(symbols={"A": {"inserted": 2**63}}),
    make_record(symbols={"A": {"digest": 1}}),
]


def test_records_that_cannot_be_read_are_set_aside_and_loads_go_on(data_dir: Path) -> None:
    sound = data_dir / "runs" / "20231231T000000Z-cccccc.json"
    sound.parent.mkdir()
    sound.write_text(make_record(run_id=sound.stem))
    written = {}
    for number, text in enumerate(DAMAGED):
        record = sound.with_name(f"20240101T000000Z-{number:06}.json")
        record.write_text(text.replace("20240101T000000Z-aaaaaa", record.stem))
        written[record] = record.read_text()
    for day in ("2024-01-02", "2024-01-03"):
        load_answer(data_dir, "2024-01-05T22:00:00", ("A", day, 5.0))
    runs = query_store(store_of(data_dir), "SELECT run_id FROM etl_runs ORDER BY run_id")
    assert runs[0] == (sound.stem,)
    assert len(runs) == 3
    for record, text in written.items():
        assert record.with_name(f"{record.name}.damaged").read_text() == text
        assert not record.exists()


def test_a_pipe_in_place_of_a_record_stops_nothing(data_dir: Path) -> None:
    (data_dir / "runs").mkdir()
    os.mkfifo(data_dir / "runs" / "20991231T000000Z-aaaaaa.json")
    assert read_last_run(data_dir / "runs") is None  # of /health
    assert read_unstored(data_dir / "runs", ()) == {}
    load_answer(data_dir, "2024-01-05T22:00:00", ("A", "2024-01-02", 5.0))
    assert call_stage(report.main) == 0
    assert call_stage(verify.main) == 0
