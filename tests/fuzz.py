"""Requests that nobody thought of, made from the API's own description: python -m tests.fuzz.

schemathesis asks a real server and checks each answer against /openapi.json: no server errors,
documented statuses, headers and bodies only, what the schema allows is accepted and what it
forbids refused. This module is also its hooks, for what a schema cannot say.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core import NOT_SET

from api.bars.series import select_fields
from api.callers import users
from api.figures.indicators import parse_indicators
from api.models.terms import INTRADAY
from etl.settings import PROJECT_ROOT
from tests.conftest import clean_environ, run_stage
from tests.server import serve_process

MANY = 500
NOBODY, ADMIN = "nobody", "admin"  # who asks, where callers say who they are
OPEN = {"/health", "/token", "/token/revoke"}
# Nothing is left in the project's folder; no schema can say which password is right.
CONFIG = """
[cache]
enabled = false
[[operations]]
include-path = ["/token"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "429"]
"""
MOST_SYMBOLS = 100


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: Any) -> None:
    """Repair what no schema can forbid in a request that should be accepted.

    A form sent with another method than POST is refused for being a body (413) before its method.
    """
    if case.method.upper() in ("GET", "HEAD"):
        case.body = NOT_SET
    if case.meta and case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE:
        mended = mend(dict(case.query), case.operation.path)
        if mended != dict(case.query):
            case.query = mended


def mend(query: dict[str, Any], path: str) -> dict[str, Any]:
    """The query, made possible where one parameter forbids another or has a grammar of its own."""
    if query.get("start") and query.get("end") and str(query["start"]) > str(query["end"]):
        query |= {"start": query["end"], "end": query["start"]}
    if query.get("what") == "beta" and not query.get("benchmark"):
        query["benchmark"] = "IBM"
    if query.get("quality") == "strict":
        query.pop("interval", None)
    if str(query.get("interval")) == "1s":  # the sample has no seconds
        query["interval"] = "1m"
    if str(query.get("interval")) in INTRADAY:
        query.pop("after", None)  # an instant, which no schema can tell from a day
    else:
        query.pop("hours", None)
    if str(query.get("interval", "1d")) != "1d" or query.get("quality") == "strict":
        query.pop("provisional", None)
    if path == "/ohlcv":  # a row of the answer, so that it depends on all the others
        query.pop("after", None)
    if query.get("format") != "csv" or query.get("sep") == query.get("decimal"):
        query.pop("sep", None)
        query.pop("decimal", None)
    if "symbols" in query:
        query["symbols"] = ",".join(str(query["symbols"]).split(",")[:MOST_SYMBOLS])
    if "fields" in query and not is_possible(select_fields, query["fields"], query.get("interval")):
        query.pop("fields")
    if "names" in query and not is_possible(parse_indicators, query["names"]):
        query.pop("names")
    return query


def is_possible(read: Any, *texts: Any) -> bool:
    try:
        read(*(str(text) for text in texts if text is not None))
    except ValueError:
        return False
    return True


@schemathesis.check
def nothing_is_behind(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Who has no name gets nothing but what is open to all. Of other runs it says nothing."""
    if os.environ.get("FUZZ_AS") == NOBODY and case.operation.path not in OPEN:
        # what no server takes for a request never comes so far as to be asked for a name
        assert response.status_code in (400, 401, 431), f"{response.status_code} without a name"


def fuzz(
    data_dir: Path, count: int, *options: str, caller: str = ""
) -> subprocess.CompletedProcess[str]:
    """Fuzz a server of `data_dir` with `count` requests an operation and way of making them.

    caller: NOBODY or ADMIN, of a server whose callers say who they are.
    """
    config = data_dir.parent / "schemathesis.toml"
    config.write_text(CONFIG)
    settings, headers = guard_for(caller, data_dir.parent / "fuzz.sqlite")
    checks = "nothing_is_behind,not_a_server_error" if caller == NOBODY else "all"
    with serve_process(data_dir, QUERY_TIMEOUT="20", **settings) as client:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
        command += [f"{client.base_url}/openapi.json", "--checks", checks, "--continue-on-failure"]
        command += ["--max-examples", str(count), "--generation-database", "none"]
        return subprocess.run(
            [*command, *headers, *options],
            env={
                **os.environ,
                **{"SCHEMATHESIS_HOOKS": "tests.fuzz", "NO_PROXY": "*", "FUZZ_AS": caller},
            },
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )


def guard_for(caller: str, path: Path) -> tuple[dict[str, str], list[str]]:
    """Settings of the server, and options of who asks it."""
    if not caller:
        return {}, []
    users.create(path)
    key = users.add_key(path, "fuzz", users.SCOPES, None)
    settings = {"AUTH": "on", "JWT_KEY": "k" * 32, "USERS_DB": str(path), "RATE_LIMIT": "off"}
    # a name that a proxy asks for is none here, and keeps schemathesis from making up one
    named = ["-H", f"X-API-Key: {key}", "-H", "Authorization: Basic YTpi"]
    return settings, named if caller == ADMIN else []


def main() -> int:
    """Fuzz the sample; the arguments go to schemathesis, as --seed=7."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        data_dir.mkdir()
        for command in ("etl", "etl.minutes"):
            env = clean_environ(data_dir, SOURCE="sample")
            run_stage("-m", command, env=env).check_returncode()
        codes = []
        for caller in ("", ADMIN, NOBODY):
            done = fuzz(data_dir, MANY, *sys.argv[1:], caller=caller)
            print(done.stdout + done.stderr)
            codes.append(done.returncode)
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
