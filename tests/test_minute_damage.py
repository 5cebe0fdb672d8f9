"""The files of a store of minutes: what a publication touches, what is kept, and what is said of
files that are damaged, missing or foreign."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from etl.contracts.minutes import MinuteStore, MinuteStoreError
from tests.minute_stores import at, bar, batch, closes, load, open_files, told

DAYS = (0, 40, 80)  # in March, April and May


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MinuteStore]:
    """Three months of A, and B in the first."""
    with closing(open_files(tmp_path)) as opened:
        load(opened, batch(*(bar("A", at(m, day), day + m) for day in DAYS for m in range(3))))
        load(opened, batch(bar("B", at(0))))
        yield opened


@pytest.fixture
def folder(store: MinuteStore, tmp_path: Path) -> Path:
    return tmp_path / "data" / "minutes"


def list_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.duckdb*"))


def find(folder: Path, pattern: str) -> Path:
    """The newest file of a pattern."""
    return max(folder.glob(pattern), key=lambda path: int(path.name.split(".")[-2]))


def flip(path: Path, offset: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def list_faults(folder: Path) -> list[str]:
    with closing(open_files(folder.parents[1])) as opened:
        return [fault for _, fault in opened.verify() if fault]


def test_a_month_that_a_load_does_not_touch_keeps_its_file_and_two_generations_stay(
    store: MinuteStore, folder: Path
) -> None:
    first = ["1m/2024-03.1.duckdb", "1m/2024-03.2.duckdb", "1m/2024-04.1.duckdb"]
    beside = ["1m/2024-05.1.duckdb", "index.1.duckdb", "index.2.duckdb"]
    assert list_names(folder) == [*first, *beside]
    load(store, batch(bar("A", at(9, 80))))
    kept = ["1m/2024-03.2.duckdb", "1m/2024-04.1.duckdb", "1m/2024-05.1.duckdb"]
    assert list_names(folder) == [*kept, "1m/2024-05.3.duckdb", "index.2.duckdb", "index.3.duckdb"]


def test_a_live_batch_touches_no_month_and_no_index(store: MinuteStore, folder: Path) -> None:
    before = list_names(folder)
    load(store, replace(batch(bar("A", at(1), 7.0, told(1)), bar("A", at(9, 80))), is_live=True))
    of_generation = [
        name for name in before if name not in ("1m/2024-03.1.duckdb", "index.1.duckdb")
    ]
    assert list_names(folder) == sorted([*of_generation, "live.3.duckdb"])


def test_what_a_killed_run_left_goes_with_the_next_one(store: MinuteStore, folder: Path) -> None:
    left = ["1m/2024-03.next.duckdb", "1m/2024-03.next.duckdb.wal", "1m/2024-06.9.duckdb"]
    left += [
        "index.9.duckdb",
        "live.next.duckdb",
        "generation.next",
        "1m/2024-03.next.duckdb.sorted",
    ]
    for name in left:
        (folder / name).write_bytes(b"half")
    assert list_faults(folder) == []
    assert closes(store, "B") == [10.0]
    load(store, batch(bar("B", at(1))))
    assert [name for name in left if (folder / name).exists()] == []


def test_a_load_that_ends_before_its_manifest_leaves_what_was_there(
    store: MinuteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    names, generation = list_names(folder), store.newest()
    target = "etl.contracts.minutes.duckdb_files.next_generation.write_manifest"
    with monkeypatch.context() as patch, store.writing():
        patch.setattr(target, fail)
        store.upsert(batch(bar("A", at(0), 99.0, told(9))), "run")
        with pytest.raises(MinuteStoreError, match=r"No space left on device.*as it was before"):
            store.publish()
    kept = [name for name in names if not name.endswith(".1.duckdb") or "03" not in name]
    assert set(list_names(folder)) <= set(names)
    assert set(kept) <= set(list_names(folder))
    assert (store.newest(), closes(store, "A")[0]) == (generation, 0.0)
    assert load(store, batch(bar("A", at(0), 99.0, told(9)))).startswith("4-"), "never used again"


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.99])
def test_a_flipped_bit_is_found_and_no_load_takes_it_over(
    store: MinuteStore, folder: Path, share: float
) -> None:
    path = find(folder, "1m/2024-03.*.duckdb")
    flip(path, int(path.stat().st_size * share))
    assert list_faults(folder) == ["1m/2024-03.2.duckdb differs"]
    generation = store.newest()
    with (
        store.writing(),
        pytest.raises(MinuteStoreError, match=r"2024-03\.2\.duckdb is damaged.*back"),
    ):
        store.upsert(batch(bar("A", at(5))), "run")
    assert store.newest() == generation
    load(store, batch(bar("A", at(5, 80), 5.0)))
    assert closes(store, "A", start=at(0, 30))[-1] == 5.0, "other months go on"


def test_a_month_that_cannot_be_read_is_named_and_the_others_are_read(
    store: MinuteStore, folder: Path
) -> None:
    flip(find(folder, "1m/2024-03.*.duckdb"), 13_000)
    with closing(open_files(folder.parents[1])) as reader:
        with pytest.raises(MinuteStoreError, match=r"1m/2024-03\.2\.duckdb is damaged .*Corrupt"):
            reader.snapshot().bars("A", "1m")
        assert closes(reader, "A", start=at(0, 40)) == [40.0, 41.0, 42.0, 80.0, 81.0, 82.0]


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size - 4096)


def put_another(path: Path) -> None:
    path.unlink()
    shutil.copy(path.parent / "2024-04.1.duckdb", path)


@pytest.mark.parametrize(
    ("harm", "said", "fault"),
    [
        (remove, "is gone", "1m/2024-05.1.duckdb: No such file or directory"),
        (cut, "is damaged .it is not as long", "1m/2024-05.1.duckdb differs"),
        (put_another, "", "1m/2024-05.1.duckdb differs"),
    ],
)
def test_a_month_that_is_gone_or_another_is_told(
    store: MinuteStore, folder: Path, harm: Any, said: str, fault: str
) -> None:
    harm(folder / "1m" / "2024-05.1.duckdb")
    assert list_faults(folder) == [fault]
    with closing(open_files(folder.parents[1])) as reader:
        assert closes(reader, "A", end=at(0, 50)) == [0.0, 1.0, 2.0, 40.0, 41.0, 42.0]
        if said:
            with pytest.raises(MinuteStoreError, match=f"2024-05.1.duckdb {said}.*put it back"):
                reader.snapshot().bars("A", "1m")
    with store.writing(), pytest.raises(MinuteStoreError):
        store.upsert(batch(bar("A", at(5, 80))), "run")


@pytest.mark.parametrize("text", [b"", b"{}", b"{", b"\xff", b'{"generation": "9-12345678"}'])
def test_a_manifest_that_is_none_or_gone_is_told_and_nothing_is_deleted(
    store: MinuteStore, folder: Path, text: bytes
) -> None:
    names = list_names(folder)
    path = folder / "current.json"
    path.write_bytes(text) if text else path.unlink()
    with closing(open_files(folder.parents[1])) as opened:
        with pytest.raises(MinuteStoreError, match=r"current\.json (is gone|cannot be read)"):
            opened.newest()
        with pytest.raises(MinuteStoreError, match="put it back"), opened.writing():
            opened.upsert(batch(bar("A", at(0))), "run")
    assert list_names(folder) == names


def test_a_manifest_names_no_file_outside_its_folder(store: MinuteStore, folder: Path) -> None:
    path = folder / "current.json"
    for name in ("/etc/index.1.duckdb", "../../index.1.duckdb", "1m/../../index.1.duckdb"):
        found = json.loads(path.read_bytes())
        found["index"]["name"] = name
        path.write_text(json.dumps(found))
        with closing(open_files(folder.parents[1])) as opened, pytest.raises(MinuteStoreError):
            opened.newest()


def test_many_months_are_read_with_few_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.contracts.minutes.duckdb_files.attached.MOST", 3)
    with closing(open_files(tmp_path)) as opened:
        load(opened, batch(*(bar("A", at(0, 31 * month), month) for month in range(40))))
        assert closes(opened, "A") == list(range(40))
        assert len(opened.files.names) == 3  # type: ignore[attr-defined]
        assert closes(opened, "A", start=at(0, 31 * 20)) == list(range(20, 40))


def test_appended_bars_are_read_in_order_and_a_month_is_sorted_anew_when_they_are_many(
    tmp_path: Path,
) -> None:
    with closing(open_files(tmp_path)) as opened:
        load(opened, batch(*(bar(s, at(2 * m), m) for s in "AB" for m in range(20))))
        load(opened, batch(bar("A", at(1), 0.5)))
        manifest = tmp_path / "data" / "minutes" / "current.json"
        appended = [count_appended(manifest)]
        assert closes(opened, "A")[:3] == [0.0, 0.5, 1.0]
        for m in range(1, 15):
            load(opened, batch(bar("A", at(2 * m + 1), m + 0.5)))
            appended.append(count_appended(manifest))
        assert closes(opened, "A")[:6] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
        assert appended[:3] == [1, 2, 3]
        assert min(appended[3:]) == 0
        assert [fault for _, fault in opened.verify() if fault] == []


def count_appended(manifest: Path) -> int:
    count: int = json.loads(manifest.read_bytes())["months"]["1m"]["2024-03"]["appended"]
    return count
