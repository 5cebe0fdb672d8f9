"""Write data/report.html: one self-contained page about the last run and the store it left.

Loads the run's record, the published database and the rejected rows; asks what came, what was
refused and what looks odd; saves one page that needs neither script nor network.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import jinja2

from etl.base import command, run_records, whole_files
from etl.base.errors import StoreError
from etl.contracts import runs
from etl.contracts.runs import OUTCOMES
from etl.reporting import heatmap, moves, queries, store_queries
from etl.settings import Settings
from etl.store.duckdb_file.file_store import open_store

TEMPLATES = Path(__file__).parent / "reporting" / "templates"
# Most symbols of the outcomes and of the heat map; the page says how many were left out.
OUTCOMES_SHOWN = 25
SYMBOLS_SHOWN = 40
OUTCOME_NAMES = {
    "inserted": "new bars",
    "revised": "revised",
    "unchanged": "unchanged",
    "stale": "stale",
    "superseded": "superseded",
    "rejected": "rejected",
    "out_of_range": "out of range",
    "undecided": "without a fate",
}

Facts = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.report", __doc__)
    return command.main(parser, "report", report, argv, is_shared=True)


def report(settings: Settings, args: argparse.Namespace) -> None:
    """Act 1: open the store, if there is one. Act 2: gather the facts. Act 3: save the page."""
    with open_store(settings, settings.database_path) as store:
        has_store = settings.database_path.exists()
        if has_store:
            store.read_known()
        facts = gather(store.connection, settings, has_store)
    facts["written_at"] = run_records.format_instant("seconds")
    with whole_files.write_whole(settings.report_path, is_shared=True) as next_path:
        # a path that is no text in this locale must not cost the page
        next_path.write_bytes(render(facts).encode("utf-8", "backslashreplace"))
    print(settings.report_path)
    print(summarize(facts))


def gather(connection: duckdb.DuckDBPyConnection, settings: Settings, has_store: bool) -> Facts:
    """Everything that the page says. StoreError where there is neither a run nor a store."""
    run = queries.read_last_run(settings.runs_dir)
    if run is None and has_store:
        run = queries.read_stored_run(connection)
    if run is None and not has_store:
        raise StoreError(
            f"{settings.database_path} does not exist and no run is recorded: run the ETL first"
        )
    facts: Facts = {"run": run, "store": None, "database": settings.database_path}
    if run is not None:
        facts |= describe_run(run)
        is_days = run.find_step("extract").get("bars") != runs.MINUTES
        path = settings.rejected_path if is_days else settings.rejected_minutes_path
        facts["examples"] = queries.read_rejects(connection, path, run.run_id)
    if has_store:
        facts |= describe_store(connection, run.run_id if run else "")
    return facts


def describe_run(run: queries.LastRun) -> Facts:
    """The outcomes of its rows in all and by symbol; the least usual symbols first."""
    symbols = [{**row, "undecided": row["received"] - sum_outcomes(row)} for row in run.symbols]
    totals = {
        name: sum(row[name] for row in symbols) for name in ("received", *OUTCOMES, "undecided")
    }
    shown = symbols
    if len(symbols) > OUTCOMES_SHOWN:
        unusual = (
            "undecided",
            "rejected",
            "revised",
            "stale",
            "superseded",
            "out_of_range",
            "inserted",
        )
        shown = sorted(symbols, key=lambda row: [-row[name] for name in unusual])[:OUTCOMES_SHOWN]
    return {
        "totals": totals,
        "symbols": shown,
        "symbols_left_out": len(symbols) - len(shown),
        "shares": build_shares(totals),
    }


def sum_outcomes(row: dict[str, Any]) -> int:
    return sum(int(row[name]) for name in OUTCOMES)


def build_shares(totals: dict[str, int]) -> list[Facts]:
    """The parts of the bar `received`, from left to right, as x and width in percent."""
    parts: list[Facts] = []
    x = 0.0
    for name in (*OUTCOMES, "undecided"):
        width = 100 * totals[name] / max(totals["received"], 1)
        parts.append({"name": name, "rows": totals[name], "x": round(x, 3), "width": width})
        x += width
    return parts


def describe_store(connection: duckdb.DuckDBPyConnection, run_id: str) -> Facts:
    of_run = moves.read_largest(connection, run_id)
    of_store = moves.read_largest(connection)
    revisions, revised = store_queries.read_revisions(connection, run_id)
    return {
        "store": store_queries.read_store(connection),
        "notes": store_queries.read_notes(connection, run_id),
        "gaps": store_queries.read_gaps(connection),
        "heatmap": heatmap.build_heatmap(connection, SYMBOLS_SHOWN),
        "moves_of_run": of_run,
        "moves_of_store": [] if of_store == of_run else of_store,
        "revisions": revisions,
        "revised": revised,
    }


def render(facts: Facts) -> str:
    """The page. Every value is escaped by the template engine; an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment.get_template("report.html.j2").render(fate_names=OUTCOME_NAMES, **facts)


def summarize(facts: Facts) -> str:
    """The page in a line."""
    run, store = facts["run"], facts["store"]
    parts = [f"run {run.run_id} {run.status}" if run else "no run is recorded"]
    if run:
        totals = facts["totals"]
        parts += [f"{totals[name]:,} {name}" for name in ("received", "inserted", "rejected")]
        parts += [f"{len(run.failures)} failed"] if run.failures else []
    parts.append(f"{store['bars']:,} bars in the store" if store else "no store")
    return ", ".join(parts)


def show_number(value: float | None) -> str:
    """1234567 as 1,234,567; a dash where there is none."""
    return "–" if value is None else f"{value:,}"


def show_price(value: float | None) -> str:
    """Up to six digits that matter, never as a power of ten."""
    if value is None:
        return "–"
    text = f"{value:,.{2 if abs(value) >= 1 else 6}f}"
    return text if abs(value) >= 1 else text.rstrip("0").rstrip(".")


def show_change(value: float | None) -> str:
    """0.1234 as +12.3 %."""
    if value is None:
        return "–"
    return f"{100 * value:+,.1f} %".replace("-", "−") if value else "0 %"


def show_instant(value: str | datetime | None) -> str:
    """An instant in UTC to the second, as 2012-01-31 20:00:00."""
    if not value:
        return "–"
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    at = at.astimezone(UTC) if at.tzinfo else at
    return f"{at:%Y-%m-%d %H:%M:%S}"


def show_day(value: date | None) -> str:
    return "–" if value is None else f"{value:%Y-%m-%d}"


def show_received(value: object) -> str:
    """A value as a vendor sent it, cut where it is no value any more."""
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


FILTERS: dict[str, Callable[..., str]] = {
    "number": show_number,
    "price": show_price,
    "change": show_change,
    "instant": show_instant,
    "day": show_day,
    "received": show_received,
    "share": heatmap.show_share,
}


if __name__ == "__main__":
    raise SystemExit(main())
