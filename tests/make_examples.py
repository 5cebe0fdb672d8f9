"""Write api/examples.json: the answers that /docs shows, taken from a running service.

    python -m tests.make_examples

Builds the sample store and one with a past in folders of their own, serves them, asks, and writes
what came. Only what differs from run to run (instants and versions of /health, generations, ids,
times and digests of runs) changes by it.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from etl.settings import PROJECT_ROOT
from tests.conftest import call_etl
from tests.restated import build_restated
from tests.server import serve

PATH = PROJECT_ROOT / "api" / "docs" / "examples.json"

OF_SAMPLE = {
    "health": "/health",
    "instruments": "/instruments?limit=2",
    "instrument": "/instruments/AAPL",
    "ohlcv": "/instruments/AAPL/ohlcv?start=2012-01-03&end=2012-01-31&limit=2",
    "statistics": "/instruments/AAPL/statistics",
    "rolling": "/instruments/AAPL/rolling?what=volatility&start=2013-02-28",
    "indicators": "/instruments/AAPL/indicators?names=sma:20,rsi:14&start=2013-02-28",
    "returns": "/instruments/AAPL/returns?start=2013-02-27",
    "drawdowns": "/instruments/AAPL/drawdowns?most=2",
    "many": "/ohlcv?symbols=AAPL,MSFT,APPL&start=2013-03-01",
    "latest": "/ohlcv/latest?symbols=AAPL,MSFT",
    "correlation": "/statistics/correlation?symbols=AAPL,MSFT",
    "covariance": "/statistics/covariance?symbols=AAPL,MSFT",
    "screen": "/screen?sort=-total_return&limit=2",
    "corporate-actions": "/instruments/AAPL/corporate-actions",
    "runs": "/etl/runs",
    "run": "/etl/runs/{run_id}?limit=2",
    "404": "/instruments/APPL",
    "406": "/instruments/AAPL/ohlcv?limit=1",
    "422": "/instruments/AAPL/ohlcv?start=2013-05-01&end=2012-01-01",
}
OF_RESTATED = {
    "coverages": "/coverage",
    "coverage": "/instruments/IBM/coverage",
    "notes": "/instruments/IBM/notes",
    "revisions": "/instruments/IBM/revisions",
}
REQUEST_ID = "9d2c61b07e4f-1a"  # as the service makes them
WITHOUT_DATABASE = {"503": "/instruments/AAPL"}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        sample, restated, empty = (Path(folder, name) for name in ("sample", "restated", "empty"))
        call_etl(sample, SOURCE="sample")
        build_restated(restated)
        examples = collect_answers(sample, restated, empty)
    PATH.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(examples)} answers written to {PATH.relative_to(PROJECT_ROOT)}")
    return 0


def collect_answers(sample: Path, restated: Path, empty: Path) -> dict[str, Any]:
    """Key → the service's answer, of three data folders: the last one holds no database."""
    answers: dict[str, Any] = {}
    asked = ((sample, OF_SAMPLE), (restated, OF_RESTATED), (empty, WITHOUT_DATABASE))
    for folder, questions in asked:
        with serve(folder) as client:
            for key, url in questions.items():
                run_id = answers["runs"]["data"][0]["run_id"] if "{run_id}" in url else ""
                headers = {"X-Request-ID": REQUEST_ID}
                headers |= {"Accept": "text/html"} if key == "406" else {}
                answers[key] = client.get(url.format(run_id=run_id), headers=headers).json()
    return answers


if __name__ == "__main__":
    raise SystemExit(main())
