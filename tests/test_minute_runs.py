"""`make minutes` from a vendor and from files: into the store, once, whatever happens between."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from etl import extract, minutes
from etl.calls.queues.wire import read_call, write_call
from etl.calls.vendor import build_call, name_month
from etl.market.sessions import read_calendar
from etl.settings import PROJECT_ROOT
from etl.sources import Order
from etl.sources.minutes import get_minute_source
from etl.sources.registry import find_vendors
from tests.conftest import call_stage, clean_environ, read_record
from tests.extraction import settings_for
from tests.minute_answers import list_starts, tell_prices
from tests.minute_exports import HEAD, lines, write
from tests.minutes import look_at, use_folder
from tests.queues import describe_environ, start_workers
from tests.redis_server import run_redis
from tests.rest_vendors import KEY_ID, MASSIVE_KEY, SECRET, RestVendors, open_vendors
from tests.vendor import open_vendor


def find_newest() -> datetime:
    """So long ago that no session and no month ends between two looks at the clock."""
    return datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def peer() -> Iterator[RestVendors]:
    read_calendar("XNYS")  # here, and not by the vendor's thread and the ETL's at once
    with open_vendors(minutes=("IBM", "GE"), newest=find_newest()) as vendors:
        yield vendors


def name_settings(
    peer: RestVendors, source: str = "massive", symbols: str = "IBM"
) -> dict[str, str]:
    return {
        "SOURCE": source,
        "SYMBOLS": symbols,
        "MASSIVE_API_KEY": MASSIVE_KEY,
        "MASSIVE_BASE_URL": peer.url,
        "MASSIVE_CALLS_PER_MINUTE": "0",
        "ALPACA_KEY_ID": KEY_ID,
        "ALPACA_SECRET_KEY": SECRET,
        "ALPACA_BASE_URL": peer.url,
    }


@pytest.fixture
def massive(data_dir: Path, peer: RestVendors, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of this process, for Massive and IBM."""
    settings = name_settings(peer)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


def list_expected(peer: RestVendors) -> list[tuple[datetime, float]]:
    """Starts (naive UTC) and closes of all bars of this month and the last."""
    this_month = datetime.now(UTC).date().replace(day=1)
    last_month = (this_month - timedelta(days=1)).replace(day=1)
    first = datetime(last_month.year, last_month.month, 1, 4, tzinfo=UTC)
    starts = list_starts(first, peer.newest or first)
    return [(at.replace(tzinfo=None), tell_prices(at)[3]) for at in starts]


def read_store(settings: dict[str, str], data_dir: Path) -> list[tuple[datetime, float]]:
    with look_at(use_folder(data_dir)) as snapshot:
        bars = snapshot.bars(settings["SYMBOLS"], "1m")
    return list(zip(bars["timestamp"].to_pylist(), bars["close"].to_pylist(), strict=True))


def test_a_vendors_minutes_are_stored_with_what_was_asked_for_and_not_asked_again(
    data_dir: Path, peer: RestVendors, massive: dict[str, str]
) -> None:
    peer.page_size = 64
    assert call_stage(minutes.main) == 0
    assert read_store(massive, data_dir) == list_expected(peer)
    with look_at(use_folder(data_dir)) as snapshot:
        spans = snapshot.spans("IBM", "1m").to_pylist()
        assert snapshot.instruments["IBM", "1m"].sources == ("massive",)
    assert [span["source"] for span in spans] == ["massive"] * 2
    asked = len(peer.requests)
    assert call_stage(minutes.main) == 0
    assert read_record(data_dir)["stages"]["extract"]["rows"] == 0, "the store has taken them"
    assert len(peer.requests) <= asked + 1, "the running month, where its last session is late"


def test_a_store_that_is_another_gets_what_was_archived_without_a_call(
    data_dir: Path, peer: RestVendors, massive: dict[str, str]
) -> None:
    for _ in get_minute_source(use_folder(data_dir, **massive), Order()).fetch():
        pass  # a run that ended before it stored anything
    asked = len(peer.requests)
    assert call_stage(minutes.main) == 0
    assert read_store(massive, data_dir) == list_expected(peer)
    for path in sorted((data_dir / "minutes").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    peer.requests.clear()
    assert call_stage(minutes.main, "--replay") == 0
    assert (read_store(massive, data_dir), peer.requests) == (list_expected(peer), [])
    assert asked == 2


@pytest.mark.parametrize("page", [1, 2])
def test_after_kill_9_the_next_run_asks_for_the_month_in_flight_alone(
    data_dir: Path, peer: RestVendors, massive: dict[str, str], page: int
) -> None:
    """On the first page, and on the second one, where the first is a part that nothing follows."""
    peer.page_size = 60
    peer.hold(page)
    command = [sys.executable, "-m", "etl.minutes"]
    environ = clean_environ(data_dir, **massive)
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, env=environ, stderr=subprocess.PIPE)
    assert peer.asked.wait(120)
    process.kill()
    process.communicate(timeout=120)
    peer.release()
    peer.requests.clear()
    assert call_stage(minutes.main) == 0
    assert read_store(massive, data_dir) == list_expected(peer)
    pages = [-(-count // 60) for count in count_months(peer)]
    assert len(peer.requests) == sum(pages)
    assert read_record(data_dir)["stages"]["extract"]["failures"] == {}


def count_months(peer: RestVendors) -> list[int]:
    months = [(at - timedelta(hours=4)).month for at, _ in list_expected(peer)]
    return [months.count(month) for month in sorted(set(months))]


def test_a_store_that_is_down_is_one_message_before_any_call_is_spent(
    data_dir: Path, peer: RestVendors, massive: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    for _ in get_minute_source(use_folder(data_dir, **massive), Order()).fetch():
        pass
    peer.requests.clear()
    monkeypatch.setenv("MINUTE_STORE", "postgresql://nobody@127.0.0.1:9/minutes")
    assert call_stage(minutes.main) == 1
    assert peer.requests == []
    failed = read_record(data_dir)["stages"]["extract"]
    assert "127.0.0.1:9/minutes" in failed["error"]


def test_minutes_come_of_the_first_vendor_alone(
    data_dir: Path, peer: RestVendors, massive: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE", "massive,alpaca")
    assert call_stage(minutes.main) == 0
    assert {path.split("/")[2] for path in peer.paths} == {"aggs"}
    assert "minutes come of massive alone" in (data_dir / "etl.log").read_text()


def test_the_plan_tells_what_is_asked_for_minutes_too(
    data_dir: Path, massive: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_stage(extract.main, "--plan", "--symbols", "IBM,GE") == 0
    told = capsys.readouterr().out
    assert "in months of symbols: 0 had, 4 to ask, 0 wait, 0 refused" in told
    assert f"{datetime.now(UTC):%Y-%m}   never fetched: IBM, GE" in told


def test_a_call_for_a_month_travels_to_workers_and_back(massive: dict[str, str]) -> None:
    [vendor] = find_vendors(use_folder(Path("data"), **massive))
    call = build_call(vendor, "IBM", name_month(date(2026, 10, 1)))
    assert read_call(write_call(call), vendor) == call
    with pytest.raises(ValueError, match="nothing that massive is asked"):
        read_call({**write_call(call), "dataset": "bars 1m 2026-13"}, vendor)


def test_a_file_of_seconds_is_stored_as_one_of_minutes_is(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE", "files")
    stamps = [str(1_705_933_800 + n) for n in range(90) if n % 7]
    path = write(data_dir.parent, "BTC-USD.csv", HEAD + lines(*stamps, prices="10,12,9,11,0.25"))
    assert call_stage(minutes.main, "--path", str(path)) == 0
    with look_at(use_folder(data_dir)) as snapshot:
        stored = snapshot.instruments["BTC-USD", "1s"]
        bars = snapshot.bars("BTC-USD", "1s")
    assert (stored.bars, stored.volume_decimals) == (len(stamps), 2)
    epochs = [int(at.replace(tzinfo=UTC).timestamp()) for at in bars["timestamp"].to_pylist()]
    assert epochs == list(map(int, stamps))
    assert set(bars["volume"].to_pylist()) == {25}


@pytest.mark.long
def test_workers_fetch_months_as_they_fetch_days(tmp_path: Path) -> None:
    pytest.importorskip("celery", reason="celery is not installed: make engines")
    read_calendar("XNYS")
    with (
        run_redis(tmp_path) as server,
        open_vendor(per_day=0, per_second=0, lag=timedelta(days=2)) as vendor,
    ):
        url = f"redis://127.0.0.1:{server.port}/0"
        environ = describe_environ(tmp_path, vendor, url)
        names = ["AV_CALLS_PER_DAY", "AV_CALLS_PER_SECOND", "QUEUE_URL"]
        given = {name: environ[name] for name in names}
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM,GE", **given)
        with start_workers(1, environ, tmp_path):
            deliveries = list(get_minute_source(settings, Order()).fetch())
    assert {(d.label, d.error) for d in deliveries} == {("IBM", None), ("GE", None)}
    assert sum(d.bars.num_rows for d in deliveries if d.bars) > 100
    assert len(vendor.requests) == 4
