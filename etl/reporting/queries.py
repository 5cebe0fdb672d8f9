"""What a report says of a run and of the store: one function a question, the SQL beside it.

Works on a connection with what is known (etl.store.KNOWN). Whatever could be long is
bounded here, with the count of all beside it.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from etl.base import parquet_sql, run_records
from etl.contracts import runs
from etl.contracts.files import PRICES
from etl.reporting.store_queries import Row, read_rows
from etl.store.duckdb_file import accounts

EXAMPLES = 3  # rows of each reason
FAILURES = 100


@dataclass(frozen=True)
class Step:
    """One stage of a run: what it counted, how long it took, and why it failed if it did."""

    name: str
    status: str
    seconds: float | None
    error: str | None
    record: Row

    @property
    def remedy(self) -> str:
        """The error, which names the remedy; of one that nobody foresaw, where to read of it."""
        if self.error is None:
            return "It was killed before it ended: run it again, nothing is lost."
        if self.error.isidentifier():  # the type alone
            return f"{self.error}: data/etl.log has all of it. Run it again, nothing is lost."
        return self.error


@dataclass(frozen=True)
class LastRun:
    """A run as its record says, or as the store keeps it.

    failures and not_asked hold the first FAILURES; failed and waiting count all.
    """

    run_id: str
    status: str
    started_at: str | datetime | None
    finished_at: str | datetime | None
    source: str | None
    calls: int
    steps: list[Step]
    symbols: list[Row]
    failures: list[tuple[str, str]]
    failed: int
    not_asked: list[str]
    waiting: int
    not_asked_why: str

    def find_step(self, name: str) -> Row:
        """What a stage recorded; empty if it did not run."""
        return next((step.record for step in self.steps if step.name == name), {})

    @property
    def errors(self) -> list[Step]:
        """The stages that failed or were killed."""
        return [step for step in self.steps if step.status != "ok"]

    @property
    def published(self) -> str | None:
        """The generation that the run published; None if there was nothing new."""
        stages = (self.find_step(name).get("generation") for name in ("load", "rollback"))
        return next((generation for generation in stages if generation), None)

    @property
    def fetched(self) -> int:
        """Rows that extract wrote, whatever became of them."""
        return int(self.find_step("extract").get("rows", 0))

    @property
    def why_nothing(self) -> str:
        """Why a run that ended well received nothing."""
        extract, rollback = self.find_step("extract"), self.find_step("rollback")
        if rollback.get("restored"):
            return f"it published again what was {rollback['restored']}"
        if extract.get("up_to_date"):
            return "all symbols are up to date"
        if extract.get("waiting"):
            return "the vendor does not have the last session yet"
        return ""

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Rejected rows by reason, the most frequent first."""
        reasons: dict[str, int] = self.find_step("transform").get("reasons", {})
        return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


def read_last_run(folder: Path) -> LastRun | None:
    """The run whose record was written last; None where no record can be read."""
    for path in run_records.list_records(folder):
        if record := run_records.read_record(path):
            run = runs.describe_run(path.stem, record["stages"])
            return build_run(accounts.build_row(run), record["stages"], run.symbols)
    return None


def read_stored_run(connection: duckdb.DuckDBPyConnection) -> LastRun | None:
    """The newest run that the store knows of, for a data folder without records."""
    found = read_rows(
        connection,
        """SELECT * FROM known_runs
        ORDER BY coalesce(finished_at, started_at) DESC, run_id DESC LIMIT 1""",
    )
    if not found:
        return None
    symbols = read_rows(
        connection,
        "SELECT * FROM known_run_symbols WHERE run_id = ? ORDER BY symbol",
        [found[0]["run_id"]],
    )
    return build_run(found[0], json.loads(found[0]["stages"]), symbols)


def build_run(summary: Row, stages: dict[str, Row], symbols: list[Row]) -> LastRun:
    extract = stages.get("extract", {})
    failures = sorted(json.loads(summary["failures"] or "{}").items())
    not_asked = extract.get("not_asked", [])
    return LastRun(
        **{name: summary[name] for name in ("run_id", "status", "started_at", "finished_at")},
        source=summary["source"],
        calls=summary["calls"] or 0,
        steps=[build_step(name, entry) for name, entry in stages.items()],
        symbols=symbols,
        failures=failures[:FAILURES],
        failed=len(failures),
        not_asked=not_asked[:FAILURES],
        waiting=len(not_asked),
        not_asked_why=extract.get("not_asked_why", ""),
    )


def build_step(name: str, entry: Row) -> Step:
    """A stage that never ended was killed: whoever reads this holds the lock."""
    seconds = None
    if entry.get("finished_at"):
        ends = [datetime.fromisoformat(entry[key]) for key in ("started_at", "finished_at")]
        seconds = (ends[1] - ends[0]).total_seconds()
    status = "killed" if entry["status"] == "running" else entry["status"]
    return Step(name, status, seconds, entry.get("error"), entry)


def read_rejects(connection: duckdb.DuckDBPyConnection, path: Path, run_id: str) -> list[Row]:
    """The first EXAMPLES rejected rows of each reason, as they came; none of another run."""
    if run_records.read_run_id(path) != run_id:
        return []
    values = ", ".join((*PRICES, "volume"))
    return read_rows(
        connection,
        f"""SELECT reason, symbol, timestamp, {values}
        FROM {parquet_sql.scan_numbered(path)}
        QUALIFY row_number() OVER (PARTITION BY reason ORDER BY file_row_number) <= {EXAMPLES}
        ORDER BY reason, file_row_number""",
    )
