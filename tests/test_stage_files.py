"""Files between the stages that are damaged, or of a run that was killed, reach no store."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from etl import extract, load, transform, verify
from etl.__main__ import main as run_all
from etl.base import run_records
from tests.conftest import call_stage, clean_environ, query_store, read_bars, read_record
from tests.stores import copy_folder, identify, store_of

SMALL = {"SOURCE": "sample", "SYMBOLS": "FB,MSFT", "START_DATE": "2012-01-01"}
# File → the stage that reads it, and the remedy that it names.
FILES = {
    "raw_data.parquet": (transform.main, "run `make extract` again"),
    "raw_actions.parquet": (transform.main, "run `make extract` again"),
    "clean_data.parquet": (load.main, "run `make transform` again"),
    "clean_actions.parquet": (load.main, "run `make transform` again"),
    "rejected_data.parquet": (load.main, "run `make transform` again"),
}
TELLING = ("raw_actions.parquet", "clean_data.parquet")


@pytest.fixture(scope="module")
def small_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which two symbols of the sample are published; MSFT has a split."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(folder, **SMALL).items():
            patch.setenv(name, value)
        assert call_stage(run_all) == 0
    return folder


@pytest.fixture
def own_store(small_dir: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    return copy_folder(small_dir, data_dir)


def flip(path: Path, place: float) -> None:
    """Turn one bit, at a share of the file's length."""
    body = bytearray(path.read_bytes())
    body[min(int(place * len(body)), len(body) - 1)] ^= 0x10
    path.write_bytes(body)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in TELLING else pytest.mark.long) for name in FILES],
)
def test_a_flipped_bit_anywhere_in_a_file_is_refused_with_file_and_remedy(
    own_store: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    reader, remedy = FILES[name]
    path, before = own_store / name, identify(store_of(own_store))
    whole = path.read_bytes()
    for place in (0, 0.05, 0.37, 0.61, 0.9, 0.98, 1):
        flip(path, place)
        assert call_stage(reader) == 1, place
        [line] = capsys.readouterr().err.splitlines()
        assert str(path) in line, place
        assert remedy in line, place
        path.write_bytes(whole)
    assert identify(store_of(own_store)) == before
    assert call_stage(reader) == 0


@pytest.mark.parametrize("was", [b"run_id", b"parquet"])
def test_a_file_whose_own_name_of_the_run_is_damaged_is_no_file_of_another_make(
    own_store: Path, was: bytes
) -> None:
    path = own_store / "clean_data.parquet"
    run_id = run_records.read_run_id(path)
    assert run_id
    for text in (was, run_id.encode()):
        body = path.read_bytes()
        at = body.rfind(text)
        if at < 0:
            continue
        path.write_bytes(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
        assert call_stage(load.main) == 1
        path.write_bytes(body)


def test_the_remedy_heals(own_store: Path) -> None:
    wanted = read_bars(store_of(own_store))
    for name in FILES:
        flip(own_store / name, 0.5)
    store_of(own_store).unlink()
    for main, code in (
        *((load.main, 1), (transform.main, 1)),
        *((extract.main, 0), (transform.main, 0), (load.main, 0)),
    ):
        assert call_stage(main) == code
    assert read_bars(store_of(own_store)) == wanted
    assert call_stage(verify.main) == 0


def stop_after(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the file `name` be the last one that takes its name."""
    replace = Path.replace

    def replace_or_stop(self: Path, target: Path) -> Path:
        found = replace(self, target)
        if Path(target).name == name:
            monkeypatch.setattr(Path, "replace", refuse)
        return found

    def refuse(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", replace_or_stop)


@pytest.mark.parametrize(
    ("main", "name", "reader"),
    [
        (transform.main, "clean_data.parquet", load.main),
        (extract.main, "raw_actions.parquet", transform.main),
        *(
            pytest.param(main, name, reader, marks=pytest.mark.long)
            for main, name, reader in (
                (transform.main, "rejected_data.parquet", load.main),
                (transform.main, "clean_actions.parquet", load.main),
                (extract.main, "raw_data.parquet", transform.main),
            )
        ),
    ],
)
def test_the_files_of_a_stage_that_was_stopped_between_two_are_not_read(
    own_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[list[str]], int],
    name: str,
    reader: Callable[[list[str]], int],
) -> None:
    before = identify(store_of(own_store))
    options = ("--symbols", "FB") if main is extract.main else ("--end", "2012-06-01")
    with monkeypatch.context() as patch:
        stop_after(patch, name)
        assert call_stage(main, *options) == 130
    capsys.readouterr()
    assert call_stage(reader) == 1
    assert f"run `make {main.__module__.partition('.')[2]}` again" in capsys.readouterr().err
    assert identify(store_of(own_store)) == before
    assert call_stage(main) == 0
    assert call_stage(reader) == 0


def test_a_file_of_another_make_is_taken(own_store: Path) -> None:
    raw = own_store / "raw_data.parquet"
    table = pq.read_table(raw).slice(0, 5)
    pq.write_table(table.replace_schema_metadata(None), raw)
    assert call_stage(transform.main) == 0
    assert call_stage(load.main, "--database", own_store.parent / "other.duckdb") == 0
    assert len(read_bars(own_store.parent / "other.duckdb")) == 5


def test_a_copy_elsewhere_needs_no_record(own_store: Path, tmp_path: Path) -> None:
    copy = shutil.copy(own_store / "clean_data.parquet", tmp_path / "copy.parquet")
    shutil.rmtree(own_store / "runs")
    database = tmp_path / "other.duckdb"
    assert call_stage(load.main, "--input", copy, "--database", database) == 0
    assert len(read_bars(database)) == len(read_bars(store_of(own_store)))


def test_a_file_whose_record_is_gone_is_read_and_said_to_be_unproven(
    own_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(own_store / "runs")
    assert call_stage(load.main) == 0
    assert "has no record: it cannot be proven" in capsys.readouterr().err


@pytest.mark.parametrize(
    "record",
    [
        *("[" * 100_000, '{"stages": {"x": 1}}'),
        *(pytest.param(text, marks=pytest.mark.long) for text in ("[]", '{"stages": []}')),
    ],
)
def test_a_record_that_is_none_stops_no_run(own_store: Path, record: str) -> None:
    for path in (own_store / "runs").iterdir():
        path.write_text(record)
    assert call_stage(run_all, "--source", "sample") == 0
    assert read_record(own_store)["stages"]["load"]["status"] == "ok"


# What a foreign file may say


@pytest.mark.parametrize(
    "run_id",
    [
        *("../../notes", "2" * 5000),
        *(pytest.param(name, marks=pytest.mark.long) for name in ("notes", "../x/../notes")),
    ],
)
def test_the_run_id_of_a_foreign_file_is_no_part_of_a_path(
    data_dir: Path, tmp_path: Path, run_id: str
) -> None:
    notes = tmp_path / "notes.json"
    notes.write_text('{"mine": 1}')
    row = dict.fromkeys(("open", "high", "low", "close"), "5")
    table = pa.Table.from_pylist([{"symbol": "IBM", "timestamp": "2024-01-02", **row}])
    path = tmp_path / "raw.parquet"
    pq.write_table(table.replace_schema_metadata({"run_id": run_id}), path)
    assert call_stage(transform.main, "--input", path) == 0
    assert call_stage(load.main) == 0
    assert json.loads(notes.read_text()) == {"mine": 1}
    assert all(run_records.RUN_ID.fullmatch(p.stem) for p in (data_dir / "runs").iterdir())


@pytest.mark.parametrize(
    "name", ["close=1/what*", pytest.param("a[b]/symbol=X/x{y}", marks=pytest.mark.long)]
)
def test_the_name_of_a_folder_is_neither_a_column_nor_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: Path, name: str
) -> None:
    folder = tmp_path / name / "data"
    monkeypatch.setenv("DATA_DIR", str(folder))
    assert call_stage(run_all, "--source", "sample", "--symbols", "IBM") == 0
    assert call_stage(run_all, "--source", "sample", "--symbols", "IBM,FB") == 0
    assert call_stage(verify.main) == 0
    database = tmp_path / "other.duckdb"
    inbox = folder.parent / "inbox"
    inbox.mkdir()
    shutil.copy(folder / "clean_data.parquet", inbox / "bars.parquet")
    assert call_stage(load.main, "--input", inbox, "--database", database) == 0
    assert read_bars(database) == read_bars(store_of(folder))


ZONES = ("Asia/Tokyo", "UTC", "+09:00")


@pytest.mark.parametrize(
    "zone",
    [
        *("America/New_York", "-05:30"),
        *(pytest.param(zone, marks=pytest.mark.long) for zone in ZONES),
    ],
)
def test_the_clock_in_the_zone_of_an_instant_names_its_session_wherever_it_is_read(
    data_dir: Path, tmp_path: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = pa.array(["2024-01-02", "2024-07-02"]).cast(pa.timestamp("us"))
    prices = {name: ["5", "6"] for name in ("open", "high", "low", "close")}
    stamps = pc.assume_timezone(days, zone)
    path = tmp_path / "raw.parquet"
    pq.write_table(pa.table({"symbol": ["A", "A"], "timestamp": stamps, **prices}), path)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    assert call_stage(transform.main, "--input", path) == 0
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert call_stage(load.main) == 0
    found = query_store(store_of(data_dir), "SELECT timestamp::VARCHAR FROM ohlcv_data ORDER BY 1")
    assert [day for (day,) in found] == ["2024-01-02 00:00:00", "2024-07-02 00:00:00"]
