"""Lines of the log: text or JSON, of the ETL and the API, each on one line and without a secret."""

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.callers import Caller
from api.edge.access_log import AccessLog, cut_pieces, strike_query
from api.edge.gate import Proxies
from api.edge.request_ids import CURRENT, Sent
from api.edge.route_table import RouteFacts
from api.log_config import build_log_config, tell_request
from etl import log_lines
from etl.__main__ import main as run_all
from etl.base import secret_log
from etl.credentials.redaction import remember
from etl.settings import Settings, read_settings
from tests.conftest import call_stage
from tests.server import NO_ENV_FILE, make_settings, serve, serve_process

BARS = "/instruments/AAPL/ohlcv?start=2012-01-03&end=2012-01-31"
SECRET = 'hunter2-and-"more"-of-it'
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def read_lines(text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(TIME.fullmatch(line["time"]) for line in lines)
    return lines


@pytest.fixture
def kept_handlers() -> Iterator[None]:
    log = logging.getLogger("etl")
    before = log.handlers, log.propagate
    log.handlers = []
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers, log.propagate = before


# The ETL


def test_a_run_logs_json_with_its_run_id(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    assert call_stage(run_all, "--source", "sample") == 0
    (record,) = (data_dir / "runs").glob("*.json")
    told = capsys.readouterr().err
    for text in (told, (data_dir / "etl.log").read_text()):
        lines = read_lines(text)
        assert {line["level"] for line in lines} <= {"INFO", "WARNING"}
        assert {line["logger"] for line in lines} == {"etl"}
        assert {line["run_id"] for line in lines} == {record.stem}
        assert any(line["message"].startswith("load: 12,154 inserted") for line in lines)


ODD = ["A\nERROR all is lost", "A\r\nB", "\x1b[31mred", "A\u2028B", "A\x00", "A\x85B", "\udcff"]


@pytest.mark.parametrize("form", log_lines.FORMS)
@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_what_somebody_sent_breaks_no_line(
    tmp_path: Path, kept_handlers: None, form: str, odd: str
) -> None:
    remember([SECRET])
    options = {"DATA_DIR": str(tmp_path), "LOG_FORMAT": form}
    secret_log.start_logging(read_settings(Settings, options, {}, NO_ENV_FILE))
    logging.getLogger("etl").warning("%s failed: %s", odd, SECRET)
    written = (tmp_path / "etl.log").read_bytes().decode()
    assert written.count("\n") == 1
    assert len(written.splitlines()) == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)
    assert "hunter2" not in written
    if form == "json":
        assert json.loads(written)["message"].endswith("failed: ***")


@pytest.mark.parametrize("form", log_lines.FORMS)
def test_a_traceback_has_no_secret_either(form: str) -> None:
    remember([SECRET])
    lines = log_lines.build_lines(form, "%(levelname)s %(message)s")
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("api", logging.ERROR, "x.py", 1, "it failed", (), info)
    text = lines.format(record)
    assert "Traceback" in text
    assert "hunter2" not in text
    assert form == "text" or json.loads(text)["traceback"].endswith("ValueError: ***")


def test_text_loads_no_library_of_json_lines() -> None:
    log_lines.find_json_lines.cache_clear()
    log_lines.build_lines("text", "%(message)s")
    assert log_lines.find_json_lines.cache_info().currsize == 0


# The API


def test_every_line_of_a_server_is_json(sample_dir: Path) -> None:
    with serve_process(sample_dir, LOG_FORMAT="json", ACCESS_LOG="on") as client:
        client.get(BARS, headers={"X-Request-ID": "trace-1"})
        client.get("/instruments/%0AERROR%20x/ohlcv", headers={"X-Request-ID": "trace-2"})
        port = client.base_url.port
    lines = read_lines((sample_dir.parent / f"server-{port}.log").read_text())
    assert {"uvicorn.error", "access", "api"} == {line["logger"] for line in lines}
    told = {line["request_id"]: line for line in lines if line["logger"] == "access"}
    first, second = told["trace-1"], told["trace-2"]
    assert first["message"] == "GET /instruments/{symbol}/ohlcv 200"
    assert (first["method"], first["status"], first["client"]) == ("GET", 200, "127.0.0.1")
    assert (first["path"], first["query"]) == tuple(BARS.split("?"))
    assert (first["route"], first["user"]) == ("/instruments/{symbol}/ohlcv", None)
    assert first["bytes"] > 100
    assert first["duration_ms"] > 0
    assert (second["path"], second["status"]) == ("/instruments/%0AERROR%20x/ohlcv", 404)


@pytest.mark.parametrize("form", log_lines.FORMS)
def test_one_line_a_request_whatever_became_of_it(
    sample_dir: Path, capfd: pytest.CaptureFixture[str], form: str
) -> None:
    with serve(sample_dir, LOG_FORMAT=form, ACCESS_LOG="on") as client:
        etag = client.get(BARS, headers={"X-Request-ID": "a1"}).headers["etag"]
        client.get(BARS, headers={"X-Request-ID": "a2", "If-None-Match": etag})
        client.head(BARS, headers={"X-Request-ID": "a3"})
        client.get(BARS, headers={"X-Request-ID": "a4", "Host": "evil.example"})
        client.get("/health?api_key=hunter9", headers={"X-Request-ID": "a5"})
        client.get("/instruments/mdr_hunter9-hunter9", headers={"X-Request-ID": "a6"})
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 6, "all are written when the service ends"
    assert "hunter9" not in "".join(lines)
    if form == "json":
        found = [json.loads(line) for line in lines]
        assert [(line["request_id"], line["status"], line["way"]) for line in found] == [
            ("a1", 200, "shortcut"),
            ("a2", 304, "not_modified"),
            ("a3", 200, "hit"),
            ("a4", 421, "refused"),
            ("a5", 422, "uncached"),
            ("a6", 404, "miss"),
        ]
        return
    pattern = rf"{TIME.pattern} 127\.0\.0\.1 - (GET|HEAD) \S+ \d{{3}} \d+ [\d.]+ms \w+ a\d"
    assert all(re.fullmatch(pattern, line) for line in lines), lines


def test_lines_are_written_while_the_service_runs(sample_dir: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb"):
        access_log = AccessLog("text", Proxies(""), writing)
        state = {"request_id": b"a1", "head": {}}
        scope = {"method": "GET", "path": "/x", "client": ("127.0.0.1", 1), "state": state}
        access_log.note(scope, RouteFacts("/x"), Sent(), 0.001)
        access_log.flush()
        assert pipe.readline().endswith(b" 127.0.0.1 - GET /x 0 0 1.000ms abandoned a1\n")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("apikey=x&start=2012", "apikey=***&start=2012"),
        ("start=2012&ACCESS_TOKEN=x", "start=2012&ACCESS_TOKEN=***"),
        ("ap%69key=x", "ap%69key=***"),
        ("password=&limit=3", "password=***&limit=3"),
        ("symbols=KEY,TOKEN&limit=3", "symbols=KEY,TOKEN&limit=3"),
        ("a=\x01", "a=\\x01"),
        ("k=mdk_1f2e3d4c_Vt4bS0&limit=3", "k=***&limit=3"),
    ],
)
def test_no_value_of_a_parameter_that_may_be_a_key_is_shown(query: str, shown: str) -> None:
    assert strike_query(query.encode()) == shown


def test_what_is_alike_in_two_lines_is_written_in_both_and_what_is_not_as_it_is() -> None:
    caller = Caller('a "name" of\n two lines', "user", frozenset())
    asked = {"method": "GET", "path": "/x", "raw_path": b"/%22", "query_string": b"a=%22\\"}
    for form in ("json", "text"):
        access_log = AccessLog(form, Proxies(""))
        for number in range(3):
            state = {"request_id": b"a%d" % number, "head": {}, "way": "hit", "caller": caller}
            sent = Sent()
            sent.status, sent.size = 200, number
            scope = {**asked, "state": state, "client": (f"192.0.2.{number // 2}", 1)}
            access_log.note(scope, RouteFacts("/x"), sent, number / 1000)
        lines = access_log.lines.copy()
        access_log.lines.clear()
        if form == "json":
            told = [json.loads(line) for line in lines]
            assert [line["request_id"] for line in told] == ["a0", "a1", "a2"]
            assert [line["client"] for line in told] == ["192.0.2.0", "192.0.2.0", "192.0.2.1"]
            assert [(line["bytes"], line["duration_ms"]) for line in told] == [
                (0, 0),
                (1, 1),
                (2, 2),
            ]
            assert {(line["user"], line["query"]) for line in told} == {(caller.name, "a=%22\\")}
        else:
            assert all(line.count(b"\n") == 1 and line.isascii() for line in lines)
            assert [line.split(b" ")[-1] for line in lines] == [b"a0\n", b"a1\n", b"a2\n"]


@pytest.mark.parametrize("size", [1, 5, 8, 4096])
def test_pieces_are_whole_lines(size: int) -> None:
    text = b"one\ntwo and more\n\nthree\nend"
    pieces = cut_pieces(text, size)
    assert b"".join(pieces) == text
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])
    assert all(len(piece) <= size or piece.count(b"\n") <= 1 for piece in pieces)


def test_a_line_that_a_request_causes_names_it(tmp_path: Path) -> None:
    config = build_log_config(make_settings(tmp_path, LOG_FORMAT="json"))
    lines = log_lines.build_lines("json", "", facts=config["formatters"]["lines"]["facts"])
    record = logging.LogRecord("api", logging.WARNING, "x.py", 1, "%s", ("slow",), None)
    token = CURRENT.set({"request_id": b"trace-9"})
    try:
        assert json.loads(lines.format(record))["request_id"] == "trace-9"
    finally:
        CURRENT.reset(token)
    assert tell_request() == {}
