"""No secret stands in a log line, a traceback, a run record or an error, however it is spelled."""

import base64
import html
import json
import logging
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from api.settings import ApiSettings
from etl.base import secret_log
from etl.base.run_records import Run, read_record
from etl.credentials.redaction import redact, remember, strike
from etl.settings import Settings, read_settings

KEYS = ["ABCDEFGH12345678", 'Sup3r/Key+"x\\y&z', "schlüssel-für-heute", "two words here", "x1y2"]
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper": str.upper,
    "url": lambda key: urllib.parse.quote(key, safe=""),
    "url of a form": urllib.parse.quote_plus,
    "url twice": lambda key: urllib.parse.quote(urllib.parse.quote(key, safe=""), safe=""),
    "url, each letter": lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
    "json": json.dumps,
    "json as it is": lambda key: json.dumps(key, ensure_ascii=False),
    "json twice": lambda key: json.dumps(json.dumps(key)),
    "json, each letter": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "html": html.escape,
    "html, each letter": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "python": repr,
    "python, bytes": lambda key: repr(key.encode()),
    "some letters": lambda key: f"{key[0]}%{ord(key[1]):x}{key[2:]}",
}
CODINGS: dict[str, Callable[[str], str]] = {
    "hexadecimal": lambda key: key.encode().hex(),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "basic": lambda key: base64.b64encode(b"user:" + key.encode()).decode(),
    "basic of another": lambda key: base64.b64encode(b"ab:" + key.encode() + b"!").decode(),
    "base64 of addresses": lambda key: base64.urlsafe_b64encode(b"a" + key.encode()).decode(),
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("key", KEYS)
def test_a_secret_is_struck_in_whatever_escapes_it_stands(
    key: str, spell: Callable[[str], str]
) -> None:
    remember([key])
    struck = strike(f"before {spell(key)} after")
    assert "***" in struck
    assert struck.startswith("before ")
    assert struck.endswith(" after")
    assert len(struck) <= len('before "\\"***\\"" after')


@pytest.mark.parametrize("code", CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("key", KEYS[:-1])
def test_a_secret_is_struck_in_base64_and_hexadecimal(key: str, code: Callable[[str], str]) -> None:
    remember([key])
    coded = code(key)
    left = strike(f"Authorization: Basic {coded} after").split()[2]
    assert "***" in left
    assert sum(map(len, left.split("***"))) <= 10, "at most the letters beside it are left"


@pytest.mark.parametrize("text", ["50% of \\n & more &amp; 1+1", "http://a@b", "", "100%"])
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    remember(KEYS)
    assert strike(text) == text


def test_of_secrets_within_each_other_nothing_is_left() -> None:
    remember(["part"])
    remember(["a part of it"])
    assert strike("this is a part of it, and part") == "this is ***, and ***"


def test_the_password_of_an_address_is_struck_though_nobody_named_it() -> None:
    assert strike("redis://user:pw@host:6379/0 gone") == "redis://***@host:6379/0 gone"


@pytest.mark.parametrize(
    "token",
    [
        "mdk_1f2e3d4c_Vt-4bS_0",
        "mdr_iH_-hTd4FlhHO0AOZ5RK9ahQ5Gwe3h",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJraW0ifQ.rKC-ly_sJZ",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJraW0ifQ.",
    ],
)
@pytest.mark.parametrize("place", ["/instruments/{}", "k={}&limit=3", "a%3D{}", '{{"id":"{}"}}'])
def test_a_callers_token_is_struck_by_its_form(token: str, place: str) -> None:
    for sent in (token, token.replace("_", "%5F").replace(".", "%2E")):
        assert strike(place.format(sent)) == place.format("***")
    text = "GET /instruments/MDK/ohlcv, mdr and eyJacket"
    assert strike(text) == text


def test_an_empty_secret_strikes_nothing() -> None:
    remember(["", ""])
    assert strike("as it was") == redact("as it was", "") == "as it was"


@pytest.mark.parametrize("name", ["AV_API_KEY", "ALPHAVANTAGE_API_KEY", "VAULT_TOKEN"])
def test_log_and_terminal_never_show_a_secret_in_message_argument_or_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    settings = read_settings(Settings, {"DATA_DIR": str(tmp_path)}, {name: KEYS[0]}, Path("no"))
    secret_log.start_logging(settings)
    log = logging.getLogger("etl")
    try:
        raise ValueError(f"https://vendor/?key={KEYS[0]}")
    except ValueError:
        log.exception("asked with %s", KEYS[0].lower(), extra={"key": KEYS[0]})
    for handler in log.handlers:
        handler.close()
    log.handlers = []
    written = capsys.readouterr().err + (tmp_path / "etl.log").read_text()
    assert written.count("asked with ***") == 2
    assert "ValueError: https://vendor/?key=***" in written
    assert KEYS[0].lower() not in written.lower()


def test_a_run_record_never_holds_a_secret(tmp_path: Path) -> None:
    remember([KEYS[1]])
    run = Run("20200101T000000Z-abcdef", tmp_path / "20200101T000000Z-abcdef.json")
    with run.record_stage("extract") as entry:
        entry["failures"] = {"IBM": f"the vendor said {KEYS[1]}"}
    record = read_record(run.path)
    assert record is not None
    assert record["stages"]["extract"]["failures"] == {"IBM": "the vendor said ***"}
    assert "Sup3r" not in run.path.read_text()


def test_a_secret_that_was_replaced_is_struck_as_the_new_one_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("the-first-value")
    environ = {"METRICS_TOKEN_FILE": str(tmp_path / "key")}
    token = read_settings(ApiSettings, environ=environ, env_file=Path("no")).metrics_token
    assert token.value == "the-first-value"
    (tmp_path / "key").write_text("the-second-value")
    token.refresh()
    assert strike("the-first-value, the-second-value") == "***, ***"
