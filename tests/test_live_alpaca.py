"""alpaca-py on a replay of this service, which is killed meanwhile: the same order again."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl.contracts.minutes.replay import list_told
from tests.conftest import clean_environ
from tests.live_kills import Process, open_snapshot
from tests.minute_data import Minutes, fill
from tests.server import HOST, connect, find_port, is_answering, server_environ, wait_until
from tests.test_alpaca_stream import run_sdk

FIRST = date(2013, 3, 11)
PATH = f"/v2/replay?start={FIRST}"
Heard = tuple[str, str, float]


@contextmanager
def run_api(folder: Path, port: int) -> Iterator[tuple[Process, httpx.Client]]:
    """`python -m api.main`, once it answers."""
    process = Process("api.main", folder.parent / "api.log")
    process.start(clean_environ(folder, **server_environ(port)))
    try:
        with connect(f"http://{HOST}:{port}") as client:
            wait_until(lambda: not process.is_running or is_answering(client))
            assert process.is_running, process.log.read_text()
            yield process, client
    finally:
        process.end()


def list_wanted(folder: Path, symbols: list[str]) -> list[Heard]:
    with open_snapshot(folder) as snapshot:
        start = snapshot.instruments[symbols[0], "1m"].first
        return [
            (told.symbol, f"{told.row['timestamp']:%Y-%m-%d %H:%M}", told.row["close"])
            for day in list_told(snapshot, symbols, "1m", start)
            for told in day
        ]


def show(bars: list[Any]) -> list[Heard]:
    return [(each.symbol, f"{each.timestamp:%Y-%m-%d %H:%M}", each.close) for each in bars]


@pytest.mark.parametrize(
    ("count", "last"),
    [
        pytest.param(15, date(2013, 3, 13), marks=pytest.mark.live, id="20,000 messages"),
        pytest.param(450, date(2013, 3, 15), marks=pytest.mark.live, id="a million messages"),
    ],
)
def test_a_killed_service_tells_the_same_again(tmp_path: Path, count: int, last: date) -> None:
    folder, port = tmp_path / "data", find_port()
    symbols = [f"S{number:03d}" for number in range(count)]
    fill(
        folder, *(Minutes(each, first=FIRST, last=last, shift=n) for n, each in enumerate(symbols))
    )
    wanted = list_wanted(folder, symbols)
    with run_api(folder, port) as (process, client), run_sdk(client, PATH, *symbols) as heard:
        wait_until(lambda: len(heard.bars) > len(wanted) // 5)
        process.end()
        with run_api(folder, port):
            wait_until(lambda: is_whole(heard.bars, wanted))
            found = show(heard.bars)
    cut = len(found) - len(wanted)
    assert 0 < cut < len(wanted)
    assert found[:cut] == wanted[:cut]
    assert found[cut:] == wanted


def is_whole(bars: list[Any], wanted: list[Heard]) -> bool:
    """Whether the last of the second telling was heard."""
    return len(bars) > len(wanted) and show(bars[-1:]) == wanted[-1:]
