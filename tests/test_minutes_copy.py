"""A store of minutes in another engine is equal to the one it was copied from."""

import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from etl import minutes_copy
from etl.contracts.minutes import MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from etl.settings import PROJECT_ROOT
from tests.clickhouse_server import ClickHouseServer, share_clickhouse
from tests.conftest import call_stage, clean_environ
from tests.minute_stores import at, bar, batch, closes, load, session, told
from tests.postgres_server import shared_server

MONTHS = (0, 31, 62)  # days from the first bar to those of the next months


@pytest.fixture
def server() -> ClickHouseServer:
    return share_clickhouse()


def fill(store: MinuteStore) -> None:
    """Bars of three months and of seconds, changed, said again and late; and all beside them."""
    for hours, close in ((1, 10.0), (4, 11.0), (2, 10.5), (5, 11.0)):
        bars = [
            bar("A", at(minute, days), close + minute, told(hours), volume=125, decimals=2)
            for days in MONTHS
            for minute in range(3)
        ]
        load(store, batch(*bars, notes=[("A", at(1), "spike", f"{close}")]))
    load(
        store,
        batch(
            *(bar("B", at(0)), bar("B", at(1), volume=None)),
            spans=[("A", at(-30), at(60), "alpaca", told()), ("B", at(0), at(9), "files", told(1))],
            sessions=[session("XNYS", date(2024, 3, 7)), session("XNYS", date(2024, 3, 8))],
            exchanges={"A": "XNYS", "B": "XNYS"},
        ),
        batch(bar("A", at(1 / 60)), interval="1s", exchanges={"A": "XNYS"}),
    )


def read_all(store: MinuteStore) -> object:
    seen = store.snapshot()
    rows = [
        (
            seen.stored([symbol], interval, None, None).to_pylist(),
            seen.revisions(symbol, interval, None, None).to_pylist(),
            seen.notes(symbol, interval, None, None).to_pylist(),
            seen.spans(symbol, interval).to_pylist(),
        )
        for symbol, interval in sorted(seen.instruments)
    ]
    return rows, dict(seen.instruments), seen.sessions("XNYS", None, None).to_pylist()


def open_at(url: str, folder: Path) -> MinuteStore:
    return open_place(Place(folder, url))


def copy(source: str, target: str) -> int:
    return call_stage(minutes_copy.main, "--from", source, "--to", target)


def name_database(server: ClickHouseServer, folder: Path) -> str:
    """The address of a new one."""
    store = server.open_store(folder)
    store.close()
    return server.name_url(store.link.address.database)  # type: ignore[attr-defined]


def test_a_store_goes_to_the_other_engines_and_back_with_all_that_is_known(
    server: ClickHouseServer, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(files := open_at("", data_dir))
    url, back = name_database(server, tmp_path), tmp_path / "back"
    postgres = shared_server().create()
    assert copy("files", url) == 0
    printed = capsys.readouterr().out
    digest = files.snapshot().instruments["A", "1m"].digest
    assert f"equal A 1m: 9 bars, digest {digest}" in printed
    assert "3 of 3 symbols and 12 bars are equal in " in printed
    assert copy(url, postgres) == 0
    assert copy(postgres, f"files:{back}") == 0
    urls = [(url, data_dir), (postgres, data_dir), ("", back)]
    stores = [files, *(open_at(*each) for each in urls)]
    first, *others = map(read_all, stores)
    assert others == [first] * 3
    assert closes(stores[1], "A", as_of=told(2))[:3] == [10.5, 11.5, 12.5]
    assert all(not wrong for store in stores for _, wrong in store.verify())
    generations = [store.newest() for store in stores]
    assert copy("files", url) == copy("files", postgres) == 0
    assert [store.newest() for store in stores] == generations
    for store in stores:
        store.close()


@pytest.mark.parametrize("other", [bar("C", at(0)), bar("A", at(0), 99.0), bar("A", at(7), 10.0)])
def test_a_target_with_other_bars_is_refused_and_stays_as_it_is(
    server: ClickHouseServer,
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    other: dict[str, object],
) -> None:
    load(open_at("", data_dir), batch(bar("A", at(0)), bar("A", at(days=31))))
    url = name_database(server, tmp_path)
    target = open_at(url, data_dir)
    generation = load(target, batch(other))
    assert copy("files", url) == 1
    said = capsys.readouterr().err
    assert f"({other['symbol']} " in said
    assert "has other bars than" in said
    assert "copy into an empty store, or empty this one first" in said
    assert target.newest() == generation
    target.close()


def test_a_target_that_has_some_of_the_bars_gets_the_others(data_dir: Path, tmp_path: Path) -> None:
    bars = [bar("A", at(minute)) for minute in range(4)]
    load(source := open_at("", data_dir), batch(*bars, bar("B", at(0))))
    load(target := open_at("", tmp_path / "to"), batch(*bars[1:3]))
    assert copy("files", f"files:{tmp_path / 'to'}") == 0
    assert read_all(source) == read_all(target)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("files", "files", "is source and target"),
        ("files", "mysql://h/db", "FROM and TO must be an address like clickhouse://"),
        ("nowhere", "files", "FROM and TO must be an address like clickhouse://"),
    ],
)
def test_a_copy_from_or_to_nowhere_is_refused(
    data_dir: Path, capsys: pytest.CaptureFixture[str], source: str, target: str, said: str
) -> None:
    assert copy(source, target) == 2
    assert said in capsys.readouterr().err


def test_an_empty_store_is_nothing_to_copy(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy("files", f"files:{tmp_path}") == 1
    assert "there is nothing to copy" in capsys.readouterr().err


KILLED = """
import os, sys
from etl import minutes_copy
from etl.contracts.minutes.duckdb_files.file_store import FileStore
from etl.contracts.minutes.clickhouse.store import ClickHouseStore
left = int(sys.argv[3])
def dying(method):
    def call(self, *args):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return method(self, *args)
    return call
for engine in (FileStore, ClickHouseStore):
    engine.upsert = dying(engine.upsert)
    engine.publish = dying(engine.publish)
sys.exit(minutes_copy.main(["--from", sys.argv[1], "--to", sys.argv[2]]))
"""


@pytest.mark.minutes
@pytest.mark.parametrize("calls", [3, 2])
@pytest.mark.parametrize("engine", ["clickhouse", "files"])
def test_a_copy_that_is_killed_leaves_whole_months_and_goes_on_behind_them(
    server: ClickHouseServer,
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    engine: str,
    calls: int,
) -> None:
    fill(source := open_at("", data_dir))
    url = name_database(server, tmp_path) if engine == "clickhouse" else f"files:{tmp_path / 'to'}"
    command = [sys.executable, "-c", KILLED, "files", url, str(calls)]
    killed = subprocess.run(command, cwd=PROJECT_ROOT, env=clean_environ(data_dir), check=False)
    assert killed.returncode == -signal.SIGKILL
    place = (url, data_dir) if engine == "clickhouse" else ("", tmp_path / "to")
    target = open_at(*place)
    assert len(closes(target, "A")) == 3, "one month is there, and nothing of the next"
    target.close()
    assert copy("files", url) == 0
    said = capsys.readouterr().err
    assert "copied 1m 2024-03" not in said
    assert "copied 1m 2024-04 (2 of 4)" in said
    target = open_at(*place)
    assert read_all(target) == read_all(source)
    for store in (source, target):
        store.close()
