"""What a report says of a run and of the store: one function a question, the SQL beside it.

Works on a connection that has the published file attached as `store`. Whatever could be long is
bounded here, with the count of all beside it.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from etl.base import parquet_sql, run_records
from etl.contracts import runs
from etl.contracts.files import PRICES
from etl.store import accounts

EXAMPLES = 3  # rows of each reason
REVISIONS = 30
FAILURES = 100

Row = dict[str, Any]


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
        """SELECT * FROM store.etl_runs
        ORDER BY coalesce(finished_at, started_at) DESC, run_id DESC LIMIT 1""",
    )
    if not found:
        return None
    symbols = read_rows(
        connection,
        "SELECT * FROM store.etl_run_symbols WHERE run_id = ? ORDER BY symbol",
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


def read_store(connection: duckdb.DuckDBPyConnection) -> Row:
    return read_rows(
        connection,
        """SELECT generation, published_at, run_id, count(i.symbol) AS symbols,
               coalesce(sum(bars), 0)::BIGINT AS bars, min(first) AS first, max(last) AS last,
               list_sort(list(DISTINCT i.source)) AS sources
        FROM store.generation LEFT JOIN store.instruments i ON true GROUP BY ALL""",
    )[0]


def read_notes(connection: duckdb.DuckDBPyConnection, run_id: str) -> list[Row]:
    """By reason: notes in the store and of this run, symbols, and the newest as an example."""
    return read_rows(
        connection,
        """SELECT reason, count(*) AS notes, count(*) FILTER (run_id = ?) AS of_run,
               count(DISTINCT symbol) AS symbols,
               arg_max({symbol: symbol, day: timestamp, detail: detail}, (timestamp, symbol))
                   AS newest
        FROM store.bar_notes GROUP BY reason ORDER BY notes DESC, reason""",
        [run_id],
    )


def read_gaps(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """By cause: sessions without a bar, symbols, and the newest of them."""
    return read_rows(
        connection,
        """SELECT cause, count(*) AS sessions, count(DISTINCT symbol) AS symbols,
               arg_max({symbol: symbol, day: session}, (session, symbol)) AS newest
        FROM store.gaps GROUP BY cause ORDER BY sessions DESC, cause""",
    )


def read_revisions(connection: duckdb.DuckDBPyConnection, run_id: str) -> tuple[list[Row], int]:
    """The bars that this run changed, the biggest changes of the close first, and how many."""
    rows = read_rows(
        connection,
        f"""SELECT r.symbol, r.timestamp, r.known_from, r.known_to,
               r.close AS old_close, b.close, b.close / nullif(r.close, 0) - 1 AS change,
               r.volume AS old_volume, b.volume, volume_decimals, count(*) OVER () AS revised,
               list_filter(['open', 'high', 'low', 'close', 'volume'], lambda name: CASE name
                   WHEN 'open' THEN r.open <> b.open WHEN 'high' THEN r.high <> b.high
                   WHEN 'low' THEN r.low <> b.low WHEN 'close' THEN r.close <> b.close
                   ELSE r.volume IS DISTINCT FROM b.volume END) AS changed
        FROM store.ohlcv_revisions r JOIN store.ohlcv_data b USING (symbol, timestamp)
        JOIN store.instruments USING (symbol)
        WHERE r.run_id = ?
        ORDER BY abs(change) DESC NULLS LAST, symbol, timestamp LIMIT {REVISIONS}""",
        [run_id],
    )
    for row in rows:
        for name in ("old_volume", "volume"):
            row[name] = divide_volume(row[name], row["volume_decimals"])
    return rows, rows[0]["revised"] if rows else 0


def divide_volume(units: int | None, decimals: int) -> int | float | None:
    """A stored volume as a number."""
    return units if units is None or not decimals else units / 10**decimals


def read_rows(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Any = None
) -> list[Row]:
    """The whole result as dicts."""
    connection.execute(query, parameters)
    names = [column[0] for column in connection.description or ()]
    return [dict(zip(names, row, strict=True)) for row in connection.fetchall()]
