"""Write api/examples.json: the answers that /docs shows, taken from a running service.

    python -m tests.make_examples

Builds the sample store in a folder of its own, serves it, asks, and writes what came. Only what
differs from run to run (/health's instants and versions, the generation) changes by it.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from etl.settings import PROJECT_ROOT
from tests.conftest import clean_environ, run_stage
from tests.server import serve

PATH = PROJECT_ROOT / "api" / "examples.json"

QUESTIONS = {
    "health": "/health",
    "instruments": "/instruments?limit=2",
    "instrument": "/instruments/AAPL",
    "ohlcv": "/instruments/AAPL/ohlcv?start=2012-01-03&end=2012-01-31&limit=2",
    "statistics": "/instruments/AAPL/statistics",
    "404": "/instruments/APPL",
    "422": "/instruments/AAPL/ohlcv?start=2013-05-01&end=2012-01-01",
}
WITHOUT_DATABASE = {"503": "/instruments/AAPL"}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        sample, empty = Path(folder, "sample"), Path(folder, "empty")
        done = run_stage("-m", "etl", env=clean_environ(sample, SOURCE="sample"))
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        examples = collect_answers(sample, empty)
    PATH.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(examples)} answers written to {PATH.relative_to(PROJECT_ROOT)}")
    return 0


def collect_answers(sample: Path, empty: Path) -> dict[str, Any]:
    """Key → the service's answer, with the sample in one folder and no database in the other."""
    answers = {}
    for folder, questions in ((sample, QUESTIONS), (empty, WITHOUT_DATABASE)):
        with serve(folder) as client:
            answers |= {key: client.get(url).json() for key, url in questions.items()}
    return answers


if __name__ == "__main__":
    raise SystemExit(main())
