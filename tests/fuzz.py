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

from api.bars.series import select_fields
from api.figures.indicators import parse_indicators
from etl.settings import PROJECT_ROOT
from tests.conftest import clean_environ, run_stage
from tests.server import serve_process

MANY = 500
CONFIG = "[cache]\nenabled = false\n"  # nothing is left in the project's folder
MOST_SYMBOLS = 100


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: Any) -> None:
    """Repair what no schema can forbid in a request that should be accepted."""
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


def fuzz(data_dir: Path, count: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Fuzz a server of `data_dir` with `count` requests an operation and way of making them."""
    config = data_dir.parent / "schemathesis.toml"
    config.write_text(CONFIG)
    with serve_process(data_dir, QUERY_TIMEOUT="20") as client:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
        command += [f"{client.base_url}/openapi.json", "--checks", "all", "--continue-on-failure"]
        command += ["--max-examples", str(count), "--generation-database", "none", *options]
        return subprocess.run(
            command,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz", "NO_PROXY": "*"},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )


def main() -> int:
    """Fuzz the sample; the arguments go to schemathesis, as --seed=7."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        data_dir.mkdir()
        run_stage("-m", "etl", env=clean_environ(data_dir, SOURCE="sample")).check_returncode()
        done = fuzz(data_dir, MANY, *sys.argv[1:])
    print(done.stdout + done.stderr)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
