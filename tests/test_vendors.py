"""What every vendor and every budget has to be; a second vendor is one module and one line."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from etl import settings as etl_settings
from etl.base.errors import (
    InvalidKey,
    Malformed,
    NotAsked,
    PremiumOnly,
    QuotaSpent,
    SourceError,
    UnknownSymbol,
)
from etl.calls.archive import Archive
from etl.calls.budget import Budget
from etl.calls.ledger import Ledger, open_ledger
from etl.calls.vendor import DAILY, MINUTES, SPLITS, Call, Limits, Vendor, build_call, name_month
from etl.contracts.files import RAW_ACTIONS, RAW_BARS
from etl.settings import Settings, SettingsError, read_settings
from etl.sources import registry
from etl.sources.alpha_vantage.source import AlphaVantage
from tests.conftest import query_store
from tests.extraction import finish_load, raw_symbols, read_everything, read_raw, run_extract
from tests.toy_vendor import Toy, open_toy, toy_now, write_bars
from tests.vendor import FakeClock, build_answer

KEY = "TOYSECRETKEY"
FRIDAY = date(2026, 11, 20)
DAYS = [FRIDAY, FRIDAY - timedelta(days=1)]


@dataclass(frozen=True)
class Case:
    """A vendor, and bodies in its format."""

    build: Callable[[str], Vendor]  # given its key
    bars: bytes
    splits: bytes
    no_splits: bytes
    unknown: bytes


def build_alpha_vantage(key: str) -> Vendor:
    return AlphaVantage(read_settings(Settings, {"AV_API_KEY": key}, {}, Path("no.env")))


def as_json(answer: Any) -> bytes:
    return json.dumps(answer).encode()


SPLIT = {"effective_date": str(FRIDAY), "split_factor": "2.0"}
CASES = {
    "alpha_vantage": Case(
        build_alpha_vantage,
        as_json(build_answer("IBM", DAYS)),
        as_json({"symbol": "IBM", "data": [SPLIT]}),
        as_json({"symbol": "IBM", "data": []}),
        as_json({"Error Message": "Invalid API call."}),
    ),
    "toy": Case(
        lambda key: Toy("http://127.0.0.1:9", key),
        write_bars(DAYS),
        b"splits\n%d 2.0" % (FRIDAY - date(1970, 1, 1)).days,
        b"splits",
        b"!unknown symbol",
    ),
}


def build_rest(name: str, setting: str) -> Callable[[str], Vendor]:
    def build(key: str) -> Vendor:
        given = {"ALPACA_KEY_ID": "PKTESTKEYID7", setting: key}
        return registry.VENDORS[name](read_settings(Settings, given, {}, Path("no.env")))

    return build


BAR = {"o": 10, "h": 12, "l": 9, "c": 11.5, "v": 1000}
BARS = [{**BAR, "t": f"{day}T05:00:00Z"} for day in DAYS]
AGGS = [
    {**BAR, "t": int(datetime.fromisoformat(f"{day}T05:00:00Z").timestamp() * 1000)} for day in DAYS
]
RATES = {"symbol": "IBM", "ex_date": str(FRIDAY), "new_rate": 2, "old_rate": 1}
SPLIT_2_1 = {"ticker": "IBM", "execution_date": str(FRIDAY), "split_from": 1, "split_to": 2}
CASES["alpaca"] = Case(
    build_rest("alpaca", "ALPACA_SECRET_KEY"),
    as_json({"bars": {"IBM": BARS}, "next_page_token": None}),
    as_json({"corporate_actions": {"forward_splits": [RATES]}, "next_page_token": None}),
    as_json({"corporate_actions": {}, "next_page_token": None}),
    as_json({"code": 40010001, "message": "invalid symbol: IBM"}),
)
CASES["massive"] = Case(
    build_rest("massive", "MASSIVE_API_KEY"),
    as_json({"ticker": "IBM", "status": "OK", "resultsCount": 2, "results": AGGS}),
    as_json({"status": "OK", "results": [SPLIT_2_1]}),
    as_json({"status": "OK", "results": []}),
    as_json({"status": "NOT_FOUND", "message": "Ticker not found."}),
)
every_vendor = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def list_datasets(vendor: Vendor) -> list[str]:
    """All that can be asked; of minutes two months."""
    months = [name_month(date(2026, month, 1)) for month in (10, 11) if MINUTES in vendor.datasets]
    return [dataset for dataset in vendor.datasets if dataset != MINUTES] + months


@every_vendor
def test_a_vendor_reads_bars_and_actions_as_rows_of_the_raw_files(case: Case) -> None:
    vendor = case.build(KEY)
    bars = vendor.read(build_call(vendor, "IBM", DAILY), 200, case.bars)
    assert bars.last_bar == FRIDAY
    assert {row["timestamp"] for row in bars.rows} == {str(day) for day in DAYS}
    assert set(bars.rows[0]) <= set(RAW_BARS.names)
    splits = vendor.read(build_call(vendor, "IBM", SPLITS), 200, case.splits)
    [split] = splits.rows
    assert set(split) <= set(RAW_ACTIONS.names)
    assert (split["kind"], split["ex_date"], split["value"]) == ("split", str(FRIDAY), "2.0")
    assert splits.last_bar is None
    assert vendor.read(build_call(vendor, "IBM", SPLITS), 200, case.no_splits).rows == []


@every_vendor
def test_whatever_else_a_vendor_sends_is_one_typed_error(case: Case) -> None:
    vendor = case.build(KEY)
    for dataset in list_datasets(vendor):
        call = build_call(vendor, "IBM", dataset)
        with pytest.raises(UnknownSymbol):
            vendor.read(call, 200, case.unknown)
        for body in (b"", b"\xff\xfe", b"<html>", b"[]", b"{}", case.bars[: len(case.bars) // 2]):
            with pytest.raises(SourceError) as caught:
                vendor.read(call, 500, vendor.redact(body + KEY.encode()))
            assert KEY not in str(caught.value)


@every_vendor
def test_a_vendor_without_its_key_says_which_setting_it_wants(case: Case) -> None:
    case.build(KEY).check_key()
    with pytest.raises(SettingsError, match="_KEY"):
        case.build("").check_key()


@every_vendor
def test_a_key_that_an_answer_repeats_is_struck_out_and_its_data_stay(case: Case) -> None:
    vendor = case.build(KEY)
    clean = vendor.redact(case.unknown + KEY.encode())
    assert KEY.encode() not in clean
    assert vendor.redact(case.bars) == case.bars


@every_vendor
def test_the_archive_gives_back_what_was_asked_whatever_its_files_are_called(
    case: Case, tmp_path: Path
) -> None:
    vendor = case.build(KEY)
    for dataset in list_datasets(vendor):
        Archive(tmp_path, vendor.datasets).add("IBM", dataset, "data", b"{}", toy_now())
    latest = Archive(tmp_path, vendor.datasets).latest
    assert set(latest) == {("IBM", dataset) for dataset in list_datasets(vendor)}
    assert len(set(vendor.datasets.values())) == len(vendor.datasets)


@every_vendor
def test_a_question_differs_by_symbol_and_dataset_and_bears_the_key(case: Case) -> None:
    vendor = case.build(KEY)
    calls = [
        build_call(vendor, name, d) for name in ("IBM", "BRK.B") for d in list_datasets(vendor)
    ]
    asked = [str(vendor.build_request(call)) for call in calls]
    assert len(set(asked)) == len(asked)
    assert all(KEY in request for request in asked)


def test_archives_and_ledgers_of_before_datasets_had_names_are_read(tmp_path: Path) -> None:
    """Files called TIME_SERIES_DAILY, lines with a "function"."""
    vendor = build_alpha_vantage(KEY)
    folder = tmp_path / "archive" / "alpha_vantage" / "IBM"
    folder.mkdir(parents=True)
    names = ("000000007.20261120T230005123456Z.TIME_SERIES_DAILY.2026-11-20.json.gz",
             "000000009.20261120T230006123456Z.SPLITS.data.json.gz",
             "000000010.20261120T230006123456Z.GLOBAL_QUOTE.data.json.gz")  # fmt: skip
    for name in names:
        (folder / name).write_bytes(b"")
    archive = Archive(folder.parent, vendor.datasets)
    assert {key: entry.number for key, entry in archive.latest.items()} == {
        ("IBM", DAILY): 7,
        ("IBM", SPLITS): 9,
    }
    at = toy_now().isoformat()
    about = {"at": at, "symbol": "IBM", "function": "TIME_SERIES_DAILY"}
    plan = "TIME_SERIES_DAILY full"
    key = open_ledger(tmp_path, vendor).key
    lines = [
        {**about, "what": "call"},
        {**about, "what": "failed", "kind": "unavailable", "said": "IBM: empty", "asked_at": at},
        {**about, "what": "premium only", "said": "IBM: no", "plan": plan, "key": key},
        {**about, "what": "unknown symbol", "symbol": "APPL", "said": "APPL: no"},
        {**about, "what": "failed", "symbol": "X", "kind": "malformed", "said": "X: no"},
        {"at": at, "what": "vendor down", "calls": [["X", "TIME_SERIES_DAILY"]]},
    ]
    (tmp_path / "calls.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ledger = open_ledger(tmp_path, vendor)
    assert ledger.left(toy_now()) == 24
    assert isinstance(ledger.refusal(Call("A", DAILY, plan)), PremiumOnly)
    assert isinstance(ledger.refusal(build_call(vendor, "APPL", SPLITS)), UnknownSymbol)
    assert ledger.has_failed(build_call(vendor, "X", DAILY))
    assert not ledger.is_failing(build_call(vendor, "X", DAILY))


@pytest.fixture
def use_toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Settings]:
    """The line that a second vendor adds, and settings that choose it."""

    def use(url: str) -> Settings:
        monkeypatch.setitem(registry.VENDORS, "toy", lambda settings: Toy(url, KEY))
        monkeypatch.setattr(etl_settings, "SOURCES", (*etl_settings.SOURCES, "toy"))
        options = {"DATA_DIR": str(tmp_path), "SYMBOLS": "IBM,NONE", "SOURCE": "toy"}
        return read_settings(Settings, options, {}, tmp_path / "no.env")

    return use


def test_a_second_vendor_is_planned_asked_archived_replayed_and_stored(
    tmp_path: Path, use_toy: Callable[[str], Settings]
) -> None:
    day = (FRIDAY - date(1970, 1, 1)).days
    bars, splits = write_bars(DAYS), b"splits\n%d 2.0" % day
    clock = FakeClock(toy_now())
    with open_toy({"/eod/IBM": bars, "/splits/IBM": splits}) as (url, asked):
        settings = use_toy(url)
        assert run_extract(settings, clock) is None
        assert asked == ["/eod/IBM", "/eod/NONE", "/splits/IBM"]
        assert raw_symbols(settings) == {"IBM"}
        finish_load(settings)
        assert run_extract(settings, clock) is None
        assert len(asked) == 3, "all up to date, and NONE is known to be unknown"
        fetched = strip_run(read_raw(settings))
        settings.raw_path.unlink()
        assert run_extract(settings, clock, replay=True) is None
    assert strip_run(read_raw(settings)) == fetched
    finish_load(settings)
    query = "SELECT symbol, timestamp, close, volume FROM ohlcv_data ORDER BY timestamp"
    stored = query_store(settings.database_path, query)
    assert stored == [
        ("IBM", datetime(2026, 11, 19), 11.5, 19000),  # noqa: DTZ001
        ("IBM", datetime(2026, 11, 20), 11.5, 20000),  # noqa: DTZ001
    ]
    query = "SELECT ratio, source FROM corporate_actions"
    assert query_store(settings.database_path, query) == [(2.0, "toy")]
    assert [path.name for path in (tmp_path / "archive").iterdir()] == ["toy"]
    assert KEY.encode() not in read_everything(tmp_path)


def strip_run(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "run_id": None} for row in rows]


def open_file_ledger(folder: Path, per_day: int, key: str) -> Budget:
    return Ledger(folder / "calls.jsonl", Limits(per_day, ZoneInfo("UTC")), key)


every_budget = pytest.mark.parametrize("open_budget", [open_file_ledger], ids=["ledger file"])
OpenBudget = Callable[[Path, int, str], Budget]
NOW = toy_now()


def call_for(symbol: str, dataset: str = DAILY, plan: str = "free") -> Call:
    return Call(symbol, dataset, plan)


@every_budget
def test_a_budget_counts_each_call_for_whoever_opens_it(
    open_budget: OpenBudget, tmp_path: Path
) -> None:
    one, other = open_budget(tmp_path, 3, KEY), open_budget(tmp_path, 3, KEY)
    one.spend(call_for("A"), NOW)
    other.spend(call_for("B"), NOW)
    one.spend(call_for("C"), NOW)
    for budget in (one, other):
        with pytest.raises(NotAsked):
            budget.spend(call_for("D"), NOW)
    assert open_budget(tmp_path, 3, KEY).left(NOW) == 0
    assert open_budget(tmp_path, 3, KEY).left(NOW + timedelta(days=1)) == 3
    assert open_budget(tmp_path, 0, KEY).left(NOW) is None


@every_budget
@pytest.mark.parametrize(
    ("error", "refused", "free"),
    [
        (InvalidKey("no"), [call_for("B"), call_for("A", SPLITS)], []),
        (PremiumOnly("no"), [call_for("B")], [call_for("A", SPLITS, "other")]),
        (UnknownSymbol("no"), [call_for("A"), call_for("A", SPLITS)], [call_for("B")]),
        (Malformed("no"), [], [call_for("A"), call_for("B")]),
    ],
    ids=lambda value: value.kind if isinstance(value, SourceError) else "",
)
def test_what_a_budget_learns_it_knows_when_it_is_opened_again(
    open_budget: OpenBudget,
    tmp_path: Path,
    error: SourceError,
    refused: list[Call],
    free: list[Call],
) -> None:
    open_budget(tmp_path, 3, KEY).learn(call_for("A"), error, NOW)
    again = open_budget(tmp_path, 3, KEY)
    assert all(isinstance(again.refusal(call), type(error)) for call in refused)
    assert [again.refusal(call) for call in free] == [None] * len(free)
    assert again.is_failing(call_for("A")) == error.is_failure
    again.excuse([call_for("A")], NOW)
    assert not open_budget(tmp_path, 3, KEY).is_failing(call_for("A"))
    again.learn(call_for("A"), None, NOW)
    assert open_budget(tmp_path, 3, KEY).refusal(call_for("A")) is None


@every_budget
def test_a_day_that_the_vendor_calls_spent_is_spent(
    open_budget: OpenBudget, tmp_path: Path
) -> None:
    open_budget(tmp_path, 9, KEY).learn(call_for("A"), QuotaSpent("no"), NOW, NOW)
    assert open_budget(tmp_path, 9, KEY).left(NOW) == 0
    assert open_budget(tmp_path, 9, "ANOTHERKEY").left(NOW) == 9
    assert open_budget(tmp_path, 9, KEY).left(NOW + timedelta(days=1)) == 9
