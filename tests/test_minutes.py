"""`make minutes`: from the source to the published store, and what it leaves alone."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from etl import minutes, verify
from etl.__main__ import main as etl_main
from etl.base.whole_files import compute_digest
from etl.settings import PROJECT_ROOT
from tests.conftest import call_stage, clean_environ, read_record, run_stage
from tests.daemons import find_port
from tests.minutes import look_at, use_folder


def make_minutes(*args: str) -> int:
    return call_stage(minutes.main, *args)


def test_the_sample_gives_minutes_that_say_they_are_synthetic(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE", "sample")
    assert make_minutes("--symbols", "AAPL,IBM") == 0
    with look_at(use_folder(data_dir)) as snapshot:
        assert sorted(snapshot.instruments) == [("AAPL", "1m"), ("IBM", "1m")]
        apple = snapshot.instruments["AAPL", "1m"]
        assert (apple.is_synthetic, apple.exchange, apple.bars) == (True, "XNYS", 20 * 390)
        bars = snapshot.bars("AAPL", "1m")
        assert str(bars["timestamp"][0].as_py()) == "2013-02-01 14:30:00"
        assert snapshot.spans("AAPL", "1m").num_rows == 2
        days = snapshot.sessions("XNYS", None, None)["session"].to_pylist()
        assert str(days[0]) < "2013-01-15", "those of a month before"
        assert str(days[-1]) > "2013-03-15", "those of a month after"


def test_a_second_run_with_nothing_new_publishes_nothing(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE", "sample")
    assert make_minutes("--symbols", "IBM", "--since", "2013-02-27") == 0
    manifest = (data_dir / "minutes" / "current.json").read_text()
    first = read_record(data_dir)["stages"]
    assert make_minutes("--symbols", "IBM", "--since", "2013-02-27") == 0
    assert (data_dir / "minutes" / "current.json").read_text() == manifest
    second = read_record(data_dir)["stages"]
    assert first["load"]["inserted"] == second["load"]["unchanged"] == 3 * 390
    assert first["load"]["generation"] in manifest
    assert "generation" not in second["load"]


def test_every_row_is_counted_symbol_by_symbol_in_the_record_of_the_run(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE", "sample")
    assert make_minutes("--symbols", "IBM,FB,NOPE", "--since", "2013-03-01") == 0
    stages = read_record(data_dir)["stages"]
    assert list(stages["extract"]["failures"]) == ["NOPE"]
    assert stages["transform"]["symbols"]["FB"]["clean"] == 390
    assert stages["load"]["symbols"]["FB"]["inserted"] == 390
    assert make_minutes("--symbols", "NOPE", "--strict") == 1


def test_days_and_minutes_leave_each_others_files_alone(own_sample: Path) -> None:
    digests = {path: compute_digest(path) for path in own_sample.glob("*.[pd]*")}
    assert len(digests) > 4
    env = clean_environ(own_sample, SOURCE="sample", MINUTES_SINCE="2013-03-01")
    done = run_stage(PROJECT_ROOT / "etl" / "minutes.py", env=env, cwd=own_sample)
    assert done.returncode == 0, done.stderr
    assert {path: compute_digest(path) for path in digests} == digests
    ours = {path: compute_digest(path) for path in own_sample.glob("*minute*.parquet")}
    manifest = (own_sample / "minutes" / "current.json").read_text()
    assert len(ours) == 4
    assert call_stage(etl_main, "--source", "sample") == 0
    assert {path: compute_digest(path) for path in ours} == ours
    assert (own_sample / "minutes" / "current.json").read_text() == manifest


def test_the_minutes_of_the_sample_agree_with_its_daily_bars(own_sample: Path) -> None:
    """Nothing is noted: sessions are whole, and each makes its daily bar."""
    assert make_minutes("--source", "sample", "--symbols", "AAPL,MSFT") == 0
    assert read_record(own_sample)["stages"]["load"]["notes"] == {}


def test_the_clean_file_is_in_the_order_in_which_it_is_loaded(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE", "sample")
    assert make_minutes("--symbols", "MSFT,AAPL") == 0
    rows = pq.read_table(data_dir / "clean_minutes.parquet").to_pylist()
    keys = [(f"{r['timestamp']:%Y-%m}", r["symbol"], r["timestamp"]) for r in rows]
    assert keys == sorted(keys)


def test_make_verify_checks_minutes_with_days_and_without(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_stage(verify.main) == 1, "there is nothing yet"
    assert make_minutes("--source", "sample", "--symbols", "IBM", "--since", "2013-03-01") == 0
    assert call_stage(verify.main) == 0
    told = capsys.readouterr().out.splitlines()
    assert len([line for line in told if line.startswith("ok    minutes: ")]) > 1
    assert "ok    clean_minutes.parquet has the rows that were counted" in told
    assert call_stage(etl_main, "--source", "sample", "--symbols", "IBM") == 0
    assert call_stage(verify.main) == 0
    month = next((data_dir / "minutes" / "1m").glob("2013-03.*.duckdb"))
    month.chmod(0o640)
    with month.open("r+b") as file:
        file.seek(-2000, 2)
        file.write(b"damaged")
    capsys.readouterr()
    assert call_stage(verify.main) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line.startswith("WRONG minutes: ")]
    assert not [line for line in told if line.startswith("WRONG") and "minutes" not in line]


def test_make_verify_takes_an_engine_that_is_away_for_no_damage(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed: make engines")
    monkeypatch.setenv("MINUTE_STORE", f"postgresql://127.0.0.1:{find_port()}/minutes")
    assert call_stage(verify.main) == 1
    told = capsys.readouterr()
    assert "does not answer: is PostgreSQL running there?" in told.out
    assert "1 lines do not add up; that line says what to do" in told.err


# Counts what the process takes at most, in MiB.
MEASURED = """
import resource, sys
from etl.minutes import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


@pytest.mark.minutes
def test_two_million_minutes_are_loaded_in_less_than_a_gigabyte(tmp_path: Path) -> None:
    env = clean_environ(tmp_path / "data", SOURCE="sample", MINUTES_SINCE="2008-03-01")
    done = run_stage("-c", MEASURED, env=env)
    assert done.returncode == 0, done.stderr
    record = read_record(tmp_path / "data")["stages"]
    assert record["load"]["inserted"] > 2_000_000
    assert int(done.stdout) < 1024
