"""Whatever the vendor sends: bars as text, or one typed error; no row else, and the key nowhere."""

import json
import os
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.base.errors import SourceError, Unavailable
from etl.calls.download import read_retry_after
from etl.extract import main
from etl.sources import Order
from etl.sources.alpha_vantage.answers import WORDINGS, check_answer, parse_bars, redact_body
from etl.sources.registry import get_source
from tests.extraction import (
    KEY,
    read_everything,
    read_raw,
    run_extract,
    settings_for,
    start_process,
)
from tests.vendor import (
    BAD_KEY,
    SAYS,
    UNKNOWN,
    FakeClock,
    Script,
    Vendor,
    bomb,
    build_answer,
    drip,
    friday_evening,
    hang_up,
    open_vendor,
    pack,
    redirect_to,
    reply,
)

PAYLOADS = Path(__file__).parent / "payloads"
RECORDED = os.environ.get("RECORDED_PAYLOADS_DIR", "")
needs_recorded = pytest.mark.skipif(not RECORDED, reason="RECORDED_PAYLOADS_DIR is not set")
GOOD = json.dumps(build_answer("IBM", [friday_evening().date()])).encode()
BAR = b'{"1. open": "1", "2. high": "2", "3. low": "1", "4. close": "1", "5. volume": "7"}'
SERIES = b'{"Meta Data": {"2. Symbol": "IBM"}, "Time Series (Daily)": %s}'


def fetch_errors(folder: Path, script: Script, **given: Any) -> list[SourceError]:
    """The errors of one symbol whose every answer is `script`; no row may come."""
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, per_day=0, per_second=0, scripts={"*": script}) as vendor:
        settings = settings_for(folder, vendor, SYMBOLS="IBM", **given)
        deliveries = list(get_source(settings, Order(clock=clock)).fetch())
        assert [d for d in deliveries if d.bars is not None or d.actions is not None] == []
        assert KEY.encode() not in read_everything(folder).upper()
        errors = [d.error for d in deliveries if d.error]
        assert KEY not in "".join(map(str, errors)).upper()
        return errors


SAID: dict[str, tuple[Any, str]] = {
    "unknown": ({"Error Message": UNKNOWN}, "unknown symbol"),
    "bad key": ({"Error Message": BAD_KEY}, "invalid key"),
    "day": ({"Information": SAYS["day"]}, "quota spent"),
    "echo": ({"Information": SAYS["echo"].format(key=KEY)}, "quota spent"),
    "second": ({"Information": SAYS["second"]}, "throttled"),
    "premium": ({"Information": SAYS["premium"]}, "premium only"),
    "demo": ({"Information": "The **demo** API key is for demo purposes only."}, "invalid key"),
    "note": ({"Note": "Our standard API call frequency is 5 calls per minute."}, "throttled"),
    "burst": ({"Information": "Burst pattern detected."}, "throttled"),
    "words of a function": ({"Information": "TIME_SERIES_DAILY rests."}, "malformed"),
    "burst of 2026": ({"Information": SAYS["burst"]}, "throttled"),
    "burst, told after a long greeting": (
        {"Information": "Good day to you. " * 60 + SAYS["burst"]}, "throttled"),
    "premium, told after a long greeting": (
        {"Information": "Good day to you. " * 60 + SAYS["premium"]}, "premium only"),
    "volume of 2018": ({"Note": "Thank you for using Alpha Vantage! Please visit"
        " https://www.alphavantage.co/premium/ if you would like to have a higher API call"
        " volume."}, "throttled"),
    "new words": ({"Information": "We are moving house."}, "malformed"),
    "words of symbols elsewhere": ({"advice": "invalid symbol"}, "malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "kind"), SAID.values(), ids=SAID)
def test_what_the_vendor_says_instead_of_bars_is_told_apart(
    tmp_path: Path, answer: Any, kind: str
) -> None:
    errors = fetch_errors(tmp_path, json.dumps(answer).encode())
    assert [error.kind for error in errors] == [kind]


RECORDED_FOLDERS = ("2017-08_zackurben", "2021_pricehist", "2020-05-08_crazzyghost")
RECORDED_KINDS = {
    "e01": "unknown symbol",
    "e02": "invalid key",
    "e04": "throttled",
    "e05": "throttled",
    "e07": "quota spent",
    "e08": "quota spent",
    "e09": "throttled",
    "e11": "premium only",
    "e12": "premium only",
    "e13": "invalid key",
    "e16": "malformed",
    "e20": "unavailable",
    "e23": "unavailable",
}


@needs_recorded
@pytest.mark.parametrize("number", RECORDED_KINDS)
def test_every_recorded_error_has_its_type(tmp_path: Path, number: str) -> None:
    path = next(Path(RECORDED, "errors").glob(f"{number}_*"))
    errors = fetch_errors(tmp_path, path.read_bytes(), AV_API_KEY="ABC123")
    assert [error.kind for error in errors] == [RECORDED_KINDS[number]]
    assert b"ABC123" not in read_everything(tmp_path)


@needs_recorded
def test_the_recorded_provisional_bar_is_delivered_as_recorded(tmp_path: Path) -> None:
    body = Path(RECORDED, "2020-05-08_crazzyghost", "timeseries_daily.json").read_bytes()
    clock = FakeClock(datetime(2020, 5, 8, 18, 7, 3, tzinfo=UTC))
    with open_vendor(clock=clock, scripts={"IBM": body}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        assert run_extract(settings, clock) is None
    newest = read_raw(settings)[0]
    assert newest["timestamp"] == "2020-05-08"
    assert (newest["close"], newest["volume"]) == ("121.7900", "2538547")
    assert newest["fetched_at"] == datetime(2020, 5, 8, 18, 7, 3)  # noqa: DTZ001


@needs_recorded
@pytest.mark.parametrize(
    "folder", ["2017-08_zackurben", "2021_pricehist", "2020-05-08_crazzyghost"]
)
def test_of_the_recorded_answers_only_daily_series_give_bars(folder: str) -> None:
    for path in sorted(Path(RECORDED, folder).glob("*.json")):
        body = path.read_bytes()
        is_daily = b'"Time Series (Daily)"' in body
        try:
            answer = check_answer(
                200, body, "MSFT" if b'"MSFT"' in body else "IBM", "TIME_SERIES_DAILY"
            )
        except SourceError:
            assert not is_daily, path
            continue
        assert is_daily
        assert parse_bars(answer, "X")


NASTY: dict[str, bytes] = {
    "one byte": b"{",
    "blank": b"  ",
    "null": b"null",
    "true": b"true",
    "number": b"17",
    "text": b'"text"',
    "empty list": b"[]",
    "list of bars": b"[" + BAR + b"]",
    "empty object": b"{}",
    "torn": GOOD[: len(GOOD) // 2],
    "torn in a text": GOOD[:-40],
    "two documents": GOOD + GOOD,
    "trailing comma": b'{"Time Series (Daily)": {},}',
    "single quotes": GOOD.replace(b'"', b"'"),
    "comment": b"/* hi */ {}",
    "csv": b"timestamp,open,high,low,close,volume\n2026-11-20,1,2,1,1,7\n",
    "html": b"<html><body>Welcome</body></html>",
    "html in capitals": b"\r\n <!DOCTYPE HTML><TITLE>x</TITLE>",
    "xml": b"<?xml version='1.0'?><a/>",
    "deep lists": b"[" * 200_000,
    "deep lists closed": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 100_000,
    "deep inside a bar": SERIES
    % (b'{"2026-11-20": {"4. close": %s}}' % (b"[" * 9000 + b"]" * 9000)),
    "invalid utf-8": b'{"Information": "\xff\xfe\xfa"}',
    "overlong utf-8": b'{"Information": "\xc0\xaf"}',
    "utf-8 surrogate": b'{"Information": "\xed\xa0\x80"}',
    "escaped half surrogate": b'{"Information": "\\ud800"}',
    "bad escape": b'{"Information": "\\x41"}',
    "control character": b'{"Information": "\x00\x01"}',
    "escaped control characters": b'{"Information": "a\\u0000b\\u001b[31m\\n"}',
    "nul bytes": b"\x00" * 100,
    "bom alone": b"\xef\xbb\xbf",
    "two boms": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "gzip without a header": pack(GOOD),
    "huge integer": b'{"Information": 1' + b"0" * 100_000 + b"}",
    "huge exponent": b'{"Time Series (Daily)": 1e999999999}',
    "nan": b'{"Time Series (Daily)": NaN}',
    "leading zero": b'{"Time Series (Daily)": 007}',
    "plus sign": b"+1",
    "hex": b"0x1F",
    "many keys": json.dumps({f"k{n}": n for n in range(20_000)}).encode(),
    "a very long key": b'{"' + b"k" * 1_000_000 + b'": 1}',
    "a very long text": json.dumps({"Information": "x" * 1_000_000}).encode(),
    "message is a list": b'{"Error Message": ["Invalid API call"]}',
    "message is an object": b'{"Information": {"Information": "x"}}',
    "message is null": b'{"Note": null}',
    "empty key": b'{"": ""}',
    "empty series": SERIES % b"{}",
    "series is null": SERIES % b"null",
    "series is a list": SERIES % b"[]",
    "series is a list of bars": SERIES % (b"[" + BAR + b"]"),
    "series is a text": SERIES % b'"x"',
    "series is a number": SERIES % b"1",
    "series is true": SERIES % b"true",
    "bar is null": SERIES % b'{"2026-11-20": null}',
    "bar is a list": SERIES % b'{"2026-11-20": [1, 2, 1, 1, 7]}',
    "bar is a text": SERIES % b'{"2026-11-20": "1,2,1,1,7"}',
    "bar is empty": SERIES % b'{"2026-11-20": {}}',
    "one bar of two is a text": SERIES % (b'{"2026-11-20": %s, "2026-11-19": ""}' % BAR),
    "bar without prices": SERIES % b'{"2026-11-20": {"5. volume": "7"}}',
    "prices are null": SERIES % b'{"2026-11-20": {"1. open": null, "4. close": null}}',
    "no date": SERIES % (b'{"today": %s}' % BAR),
    "empty date": SERIES % (b'{"": %s}' % BAR),
    "impossible date": SERIES % (b'{"2026-13-45": %s}' % BAR),
    "duplicate series, the last empty": (
        b'{"Time Series (Daily)": {"2026-11-20": %s}, "Time Series (Daily)": {}}' % BAR),
    "weekly": GOOD.replace(b"Time Series (Daily)", b"Weekly Time Series"),
    "intraday": GOOD.replace(b"Time Series (Daily)", b"Time Series (5min)"),
    "currencies": GOOD.replace(b"Time Series (Daily)", b"Time Series FX (Daily)"),
    "another symbol": GOOD.replace(b"IBM", b"MSFT"),
    "another symbol that is no text": GOOD.replace(b'"IBM"', b'{"a": 1}'),
    "series of another depth": b'{"data": ' + GOOD + b"}",
}  # fmt: skip


@pytest.mark.parametrize("body", NASTY.values(), ids=NASTY)
def test_a_body_without_bars_gives_one_typed_error_and_no_row(tmp_path: Path, body: bytes) -> None:
    errors = fetch_errors(tmp_path, body)
    assert [error.kind for error in errors] in (["malformed"], ["unavailable"])


ODD: dict[str, tuple[bytes, dict[str, str | None]]] = {
    "bom": (b"\xef\xbb\xbf" + GOOD, {}),
    "utf-16": (GOOD.decode().encode("utf-16"), {}),
    "numbers": (SERIES % b'{"2026-11-20": {"open": 1.10, "high": 1e2, "low": 1, "close": 1.50}}',
                {"open": "1.10", "high": "1e2", "close": "1.50", "volume": None}),
    "nan": (SERIES % BAR.join([b'{"2026-11-20": ', b"}"]).replace(b'"7"', b"NaN"),
            {"volume": "NaN"}),
    "huge": (SERIES % BAR.join([b'{"2026-11-20": ', b"}"]).replace(b'"7"', b"9" * 5000),
             {"volume": "9" * 5000}),
    "nested": (SERIES % BAR.join([b'{"2026-11-20": ', b"}"]).replace(b'"7"', b'[true, {"a": 1}]'),
               {"volume": '[true, {"a": "1"}]'}),
    "half surrogate": (SERIES % BAR.join([b'{"2026-11-20": ', b"}"]).replace(b'"7"', b'"\\ud800"'),
                       {"volume": "?"}),
    "half surrogate in a date": (
        SERIES % (b'{"2026-11-20": %s, "2026-11-19\\udfff": %s}' % (BAR, BAR)), {}),
    "duplicate key": (SERIES % BAR.join([b'{"2026-11-20": ', b"}"]).replace(
        b'"7"', b'"7", "5. volume": "8"'), {"volume": "8"}),
    "meta is a list": (GOOD.replace(b'{"1. Information"', b'[{"1. Information"').replace(
        b'}, "Time', b'}], "Time'), {}),
    "meta is missing": (b'{"Time Series (Daily)": {"2026-11-20": %s}}' % BAR, {}),
}  # fmt: skip


@pytest.mark.parametrize(("body", "wanted"), ODD.values(), ids=ODD)
def test_a_body_with_bars_is_delivered_as_written_however_odd(
    tmp_path: Path, body: bytes, wanted: dict[str, str | None]
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, scripts={"IBM": body}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        assert run_extract(settings, clock) is None
    row = read_raw(settings)[0]
    assert {name: row[name] for name in wanted} == wanted
    assert row["symbol"] == "IBM"


WIRE: dict[str, tuple[Callable[[Vendor], Script], str]] = {
    "hangs up": (lambda vendor: hang_up, "unavailable"),
    "status 503": (lambda vendor: reply(b"", 503), "unavailable"),
    "status 500 with json": (lambda vendor: reply(b"{}", 500), "unavailable"),
    "status 404": (lambda vendor: reply(b"no such page", 404), "malformed"),
    "status 429": (lambda vendor: reply(b"{}", 429), "throttled"),
    "status 403": (lambda vendor: reply(b"{}", 403), "invalid key"),
    "status 403 from a firewall": (lambda vendor: reply(b"<html>", 403), "unavailable"),
    "good bars under status 500": (lambda vendor: reply(GOOD, 500), "unavailable"),
    "torn by length": (lambda vendor: reply(GOOD[:50], Content_Length="5000"), "unavailable"),
    "gzip that is none": (lambda vendor: reply(GOOD, Content_Encoding="gzip"), "unavailable"),
    "gzip torn": (
        lambda vendor: reply(pack(GOOD)[:-30], Content_Encoding="gzip"), "unavailable"),
    "brotli": (lambda vendor: reply(GOOD, Content_Encoding="br"), "malformed"),
    "gzip bomb": (lambda vendor: reply(bomb(64), Content_Encoding="gzip"), "malformed"),
    "too large": (lambda vendor: reply(b" " * 2**20 + GOOD), "malformed"),
    "redirect": (lambda vendor: redirect_to("http://127.0.0.1:9/"), "malformed"),
    "redirect with a bomb": (
        lambda vendor: reply(bomb(64), 302, Content_Encoding="gzip", Location="/x"), "malformed"),
    "drips its body": (
        lambda vendor: drip(vendor, b"HTTP/1.1 200 OK\r\n\r\n{"), "unavailable"),
    "drips its head": (lambda vendor: drip(vendor, b"HTTP/1.1 200 "), "unavailable"),
    "drips chunk sizes": (
        lambda vendor: drip(vendor, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"),
        "unavailable"),
    "silent": (lambda vendor: drip(vendor, b"", pause=9), "unavailable"),
    "no http": (lambda vendor: lambda h: h.wfile.write(b"220 smtp\r\n\r\n"), "unavailable"),
    "broken headers": (
        lambda vendor: lambda h: h.wfile.write(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n{}"),
        "malformed"),
    "endless headers": (
        lambda vendor: lambda h: h.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 999),
        "unavailable"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "kind"), WIRE.values(), ids=WIRE)
def test_whatever_happens_on_the_wire_gives_one_typed_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make: Callable[[Vendor], Script], kind: str
) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, per_second=0) as vendor:
        vendor.scripts["IBM"] = make(vendor)
        settings = settings_for(
            tmp_path, vendor, SYMBOLS="IBM", HTTP_TIMEOUT="0.3", MAX_PAYLOAD_MB="1"
        )
        errors = [d.error for d in get_source(settings, Order(clock=clock)).fetch()]
        vendor.stopping.set()
    assert [error.kind for error in errors if error] == [kind]
    assert KEY not in "".join(map(str, errors)) + "".join(capfd.readouterr())
    assert KEY.encode() not in read_everything(tmp_path)


def test_a_packed_answer_is_unpacked(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    script = reply(pack(GOOD), Content_Encoding="gzip")
    with open_vendor(clock=clock, scripts={"IBM": script}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        assert run_extract(settings, clock) is None
    assert len(read_raw(settings)) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 120 "}, 120),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "٣"}, None),
        (
            {
                "Date": "Fri, 20 Nov 2026 23:00:00 GMT",
                "Retry-After": "Fri, 20 Nov 2026 23:01:30 GMT",
            },
            90,
        ),
        ({"Retry-After": "Fri, 20 Nov 2020 23:01:30 GMT"}, 0),
    ],
)
def test_how_long_the_vendor_asks_to_wait_is_read_in_both_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert read_retry_after(headers) == seconds


def test_a_connection_that_the_vendor_closes_after_an_answer_costs_no_call(tmp_path: Path) -> None:
    """The vendor promises to keep its connections, and closes each: no call runs into that."""
    clock = FakeClock(friday_evening())
    names = [f"S{number}" for number in range(8)]
    with open_vendor(clock=clock, scripts={name: reply(b"[]") for name in names}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS=",".join(names))
        run_extract(settings, clock)
        assert vendor.symbols == names
        assert {request.connection for request in vendor.requests} == {"close"}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"<html>Welcome</html>", 200, "answered HTML, not JSON (HTTP status 200)"),
        (b" <!DOCTYPE html>", 403, "answered HTML, not JSON (HTTP status 403)"),
        (b"", 200, "sent an empty answer (HTTP status 200)"),
        (b"<html>", 502, "is out of order (HTTP status 502)"),
    ],
)
def test_what_came_instead_of_an_answer_is_named(body: bytes, status: int, words: str) -> None:
    with pytest.raises(Unavailable, match=re.escape(words)):
        check_answer(status, body, "IBM", "TIME_SERIES_DAILY")


def test_a_redirect_is_never_followed(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor() as other, open_vendor(clock=clock) as vendor:
        vendor.scripts["IBM"] = redirect_to(f"{other.url}?apikey={KEY}&symbol=IBM")
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        assert "not followed" in str(run_extract(settings, clock))
        assert (len(vendor.requests), other.requests) == (1, [])


def test_a_vendor_that_is_down_costs_one_call_each_of_three_symbols(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, scripts={"*": reply(b"", 503)}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C,D,E,F,G,H")
        assert "nothing came" in str(run_extract(settings, clock))
        assert vendor.symbols == ["A", "B", "C"]


def test_until_the_first_good_answer_calls_go_one_by_one(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, keys=("another",), latency=0.05) as vendor:
        names = ",".join(f"S{n}" for n in range(30))
        settings = settings_for(tmp_path, vendor, SYMBOLS=names, AV_CALLS_PER_SECOND=0)
        assert "invalid key" in str(run_extract(settings, clock))
        assert len(vendor.requests) == 1


def test_without_a_daily_budget_a_vendor_that_recovers_delivers_all(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock) as vendor:

        def recover(handler: Any) -> None:
            del vendor.scripts["*"]
            handler.send(b"", 503)

        vendor.scripts["*"] = recover
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B", AV_CALLS_PER_DAY=0)
        assert run_extract(settings, clock) is None
        assert sorted(vendor.symbols) == ["A", "A", "B"]
        assert {row["symbol"] for row in read_raw(settings)} == {"A", "B"}


def test_one_malformed_symbol_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, scripts={"A": b"[]"}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="A,B,C", AV_CALLS_PER_DAY=2)
        run_extract(settings, clock)
        clock.sleep(86_400)
        run_extract(settings, clock)
        assert vendor.symbols == ["A", "B", "C", "A"]


def test_the_key_is_in_no_log_no_file_no_output_and_no_command_line(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def look_around(handler: Any) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(path.read_bytes())
            except OSError:
                continue
        handler.send(json.dumps({"Information": SAYS["echo"].format(key=KEY)}).encode())

    with open_vendor(scripts={"*": look_around}) as vendor:
        settings = settings_for(tmp_path, vendor, SYMBOLS="IBM")
        process = start_process(settings, "etl.extract")
        output = "".join(process.communicate(timeout=300))
    assert process.returncode == 1
    assert "etl.extract" in b" ".join(seen).decode("utf-8", "replace")
    found = output.encode() + b"".join(seen) + read_everything(tmp_path)
    assert KEY.encode() not in found.upper()


@pytest.mark.parametrize("key", ["1", "e", "2026", "open", "ABC123", "A/B+C d%"])
def test_redaction_never_changes_bars(key: str) -> None:
    body = GOOD.replace(b"Compact", json.dumps(f"key {key}")[1:-1].encode())
    clean = redact_body(body, key)
    assert parse_bars(json.loads(clean), "IBM") == parse_bars(json.loads(body), "IBM")
    if len(key) > 4:
        assert key.encode() not in clean


def test_bodies_of_our_own_give_their_bars(tmp_path: Path) -> None:
    for path in sorted(PAYLOADS.glob("av_*.json")):
        function = path.stem.removeprefix("av_").upper()
        answer = check_answer(200, path.read_bytes(), "IBM", function)
        assert answer, path


def test_wordings_are_tried_from_the_most_certain_on() -> None:
    kinds = [error.kind for _, error, _ in WORDINGS]
    assert kinds.index("throttled") < kinds.index("quota spent")


def test_arguments_that_cannot_be_used_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name, value in (
        ("AV_CALLS_PER_DAY", "many"),
        ("AV_CALLS_PER_MINUTE", "-1"),
        ("AV_DAY_ZONE", "Mars/Olympus"),
        ("MAX_PAYLOAD_MB", "0"),
        ("CORPORATE_ACTIONS_DAYS", "monthly"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert main([]) == 2
            assert f"{name}='{value}': wanted" in capsys.readouterr().err


def test_a_run_in_threads_leaves_none_behind(tmp_path: Path) -> None:
    clock = FakeClock(friday_evening())
    with open_vendor(clock=clock, per_day=0, per_second=0) as vendor:
        settings = settings_for(
            tmp_path,
            vendor,
            SYMBOLS=",".join(f"S{n}" for n in range(40)),
            AV_CALLS_PER_SECOND=0,
            AV_CALLS_PER_DAY=0,
        )
        assert run_extract(settings, clock) is None
        assert len({row["symbol"] for row in read_raw(settings)}) == 40
    assert not [t for t in threading.enumerate() if t.name.startswith("call")]


def test_options_and_settings_are_known_to_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for option in ("--plan", "--retry", "--replay", "--source", "--symbols", "--path", "--strict"):
        assert option in shown
