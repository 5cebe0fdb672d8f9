"""What make bench sets beside the service is asked the same."""

import argparse
import asyncio
import json
import re
from contextlib import closing
from pathlib import Path
from urllib.request import Request, urlopen

import duckdb
import pytest

from etl.contracts.minutes.engines import Place, open_place
from tests.bench import minute_bars, minute_reads, minutes, servers, speed

URL = "/instruments/S00001/ohlcv?start=2004-03-01&end=2004-03-31"


def test_roapi_answers_the_question_that_a_url_asks(tmp_path: Path) -> None:
    program = servers.find_roapi()
    if program is None:
        pytest.skip(speed.ROAPI_MISSING)
    bars = tmp_path / "bars.parquet"
    duckdb.sql(
        f"""COPY (SELECT TIMESTAMP '2004-01-01' + INTERVAL (d) DAY AS timestamp,
            's' || s AS name, upper('s0000') || s AS symbol, 1.5::DOUBLE + d AS open,
            2.5::DOUBLE AS high, 0.5::DOUBLE AS low, 1.0::DOUBLE AS close, d AS volume
        FROM range(3) AS symbols(s), range(366) AS days(d)) TO '{bars}'"""
    )
    with servers.serve_roapi(program, bars) as roapi:
        question = Request(f"{roapi.base}/api/sql", speed.write_question(URL).encode())
        with urlopen(question, timeout=30) as answer:
            rows = json.load(answer)
        assert roapi.read_cpu() >= 0  # in ticks of 10 ms
    assert [row["timestamp"][:10] for row in rows] == [f"2004-03-{d:02}" for d in range(1, 32)]
    assert [row["open"] for row in rows] == [61.5 + day for day in range(31)]


def test_without_roapi_the_bench_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "find_roapi", lambda: None)
    nobody: servers.Server = None  # type: ignore[assignment]
    speed.compare_roapi(nobody, 1, tmp_path)
    assert capsys.readouterr().out == f"{speed.ROAPI_MISSING}\n"


@pytest.mark.minutes
def test_minutes_are_measured_beside_their_peers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each part runs, over few bars; which goals are met is not a matter of tests."""
    minutes.run(argparse.Namespace(bars=400_000, seconds=1, folder=tmp_path))
    said = capfd.readouterr().out
    rows = re.findall(r"^(.{14}).* [<>]= [\d.]+ x: (?:met|MISSED)", said, re.MULTILINE)
    wanted = [
        "first question",
        "1m to 1h of a ",
        "another range,",
        "load of a day ",
        "p99 of daily q",
    ]
    assert [each for each in wanted if each not in rows] == []
    assert "memory of the largest of 4" in said
    for engine in ("ClickHouse", "PostgreSQL"):
        assert f"{engine}: " in said or "not measured: " in said


def test_minutes_to_be_measured_are_the_same_each_time_and_as_many_as_asked_for() -> None:
    shape = minute_bars.Shape(600_000, 12)
    name, days = shape.names[-1], minute_bars.list_days()[-3:]
    bars = minute_bars.build_batch([name], days).bars
    assert bars.equals(minute_bars.build_batch([name], days).bars)
    assert bars.num_rows == 3 * minute_bars.MINUTES
    cents = 100 * bars["close"].to_numpy()
    assert abs(cents - cents.round()).max() < 1e-9
    assert abs(sum(each.bars.num_rows for each in minute_bars.list_batches(shape)) - 6e5) < 1e4


def test_duckdb_reads_the_rows_that_the_service_answers_with(tmp_path: Path) -> None:
    days = minute_bars.list_days()[-9:]
    with closing(open_place(Place(tmp_path))) as store:
        minute_bars.load(store, iter([minute_bars.build_batch(["S00000", "S00001"], days)]))
    url = minute_reads.write_url("S00001", days[2], days[5])
    own, duck = minute_reads.Own(tmp_path), minute_reads.Duck(tmp_path)
    ours, theirs = (json.loads(asyncio.run(each.answer(url))) for each in (own, duck))
    assert len(ours["data"]) == 4 * minute_bars.MINUTES
    assert ours["data"] == theirs["data"]
