"""What make bench sets beside the service is asked the same."""

import json
from pathlib import Path
from urllib.request import Request, urlopen

import duckdb
import pytest

from tests.bench import servers, speed

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
