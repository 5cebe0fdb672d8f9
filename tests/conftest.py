"""What the tests share: a clean environment, the stages as calls and as processes, small stores.

No test sees the settings of who runs it: every setting is empty, and DATA_DIR is a new folder.
"""

import functools
import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.settings import ApiSettings
from etl.credentials import redaction
from etl.settings import PROJECT_ROOT, Settings, list_settings

SETTING_NAMES = tuple(
    setting["name"] for kind in (Settings, ApiSettings) for setting in list_settings(kind)
)
Bar = tuple[Any, ...]  # symbol, day, close and, where it matters, volume

CLEAN_SCHEMA = pa.schema(
    [
        ("timestamp", pa.timestamp("us")),
        ("symbol", pa.string()),
        *((name, pa.float64()) for name in ("open", "high", "low", "close")),
        ("volume", pa.int64()),
    ]
)


def clean_environ(data_dir: Path, **settings: str) -> dict[str, str]:
    """The environment of a process that knows no settings but these."""
    empty = dict.fromkeys(SETTING_NAMES, "")
    return {**os.environ, **empty, "DATA_DIR": str(data_dir), **settings}


def run_stage(
    *args: str | Path, env: dict[str, str], cwd: Path = PROJECT_ROOT
) -> subprocess.CompletedProcess[str]:
    """`python <args>` as a process of its own, to its end."""
    command = [sys.executable, *map(str, args)]
    return subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def call_stage(main: Callable[[list[str]], int], *args: str | Path) -> int:
    """A stage's exit code, called in this process with the settings of `os.environ`."""
    try:
        return main([str(arg) for arg in args])
    finally:
        log = logging.getLogger("etl")
        for handler in log.handlers:
            handler.close()
        log.handlers = []  # a file handler that is kept opens its file again with the next line


def call_etl(data_dir: Path, **settings: str) -> None:
    """The three stages in this process, with these settings alone."""
    from etl.__main__ import main  # only where a test needs a store

    with pytest.MonkeyPatch.context() as patch:
        for name, value in clean_environ(data_dir, **settings).items():
            patch.setenv(name, value)
        assert call_stage(main) == 0


def make_bars(path: Path, bars: Sequence[Bar], **extra: str) -> Path:
    """Write bars as a clean Parquet file; `extra` columns (source, basis) are the same all over."""
    rows = [make_row(*bar) for bar in bars]
    table = pa.Table.from_pylist(rows, schema=CLEAN_SCHEMA)
    for name, value in extra.items():
        table = table.append_column(name, pa.array([value] * len(rows), pa.string()))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def make_row(symbol: str, day: str, close: float, volume: int | None = 1000) -> dict[str, Any]:
    low = close / 2 if 0 < close <= 1 else close - 1
    prices = {"open": close, "high": close + 1, "low": low, "close": close}
    return {
        "timestamp": datetime.fromisoformat(day),
        "symbol": symbol,
        **prices,
        "volume": volume,
    }


def query_store(database: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query over a published file, opened read-only as the API opens it."""
    with attach(database) as connection:
        return connection.execute(query).fetchall()


@functools.cache
def connect_once() -> duckdb.DuckDBPyConnection:
    """To connect takes longer than most questions; no database is open between them."""
    return duckdb.connect(":memory:")


one_at_a_time = threading.Lock()


@contextmanager
def attach(database: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with one_at_a_time:
        connection = connect_once()
        connection.execute(f"ATTACH '{database}' AS store (READ_ONLY)")
        try:
            yield connection.execute("USE store")
        finally:
            connection.execute("USE memory; DETACH store")


def read_bars(database: Path) -> list[tuple[Any, ...]]:
    """Every bar, sorted by key."""
    return query_store(database, "FROM ohlcv_data ORDER BY symbol, timestamp")


def read_record(data_dir: Path) -> dict[str, Any]:
    """The record of the last run."""
    newest = max((data_dir / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    record: dict[str, Any] = json.loads(newest.read_text())
    return record


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: no search for what nobody uses looks there
    again and again, which takes a fifteenth of all processor time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(autouse=True)
def own_secrets() -> Iterator[None]:
    """What a test hands out as a secret is no secret in the next one."""
    before = list(redaction.known)
    yield
    redaction.known[:] = before


@pytest.fixture(scope="session", autouse=True)
def shared_servers() -> Iterator[None]:
    """A server that the first test that wants it started, and that the others of it share."""
    yield
    if "tests.postgres_server" in sys.modules:
        sys.modules["tests.postgres_server"].running.close()


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, named by the environment of this process."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name, value in clean_environ(folder).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the sample is published. Tests read it and never write there."""
    folder = tmp_path_factory.mktemp("sample")
    call_etl(folder, SOURCE="sample")
    return folder


@pytest.fixture(scope="session")
def restated_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the store of tests.restated. Tests read it and never write there."""
    from tests.restated import build_restated  # which imports this module

    folder = tmp_path_factory.mktemp("restated")
    build_restated(folder)
    return folder


@pytest.fixture
def own_sample(sample_dir: Path, data_dir: Path) -> Path:
    """This test's own copy of the data folder with the published sample."""
    shutil.copytree(sample_dir, data_dir, dirs_exist_ok=True)
    return data_dir
