"""The only SQL of the API: one function a question, each on a cursor of its own.

Tables are named in full (market.…): a cursor does not inherit USE.
"""

from api.store.duckdb_file.bars import (
    Actions,
    read_adjusting,
    read_many_series,
    read_noted_days,
    read_series,
)
from api.store.duckdb_file.charting import read_exchanges, read_listing, search_listings
from api.store.duckdb_file.instruments import (
    Catalog,
    Entry,
    build_unknown,
    read_catalog,
    read_instrument,
    read_instruments,
    read_totals,
)
from api.store.duckdb_file.quality import (
    count_gaps,
    count_quality,
    read_actions,
    read_coverage,
    read_coverages,
    read_notes,
    read_revisions,
)
from api.store.duckdb_file.rows import Cursor, Rows
from api.store.duckdb_file.runs import read_run, read_run_ids, read_run_symbols, read_runs
from api.store.duckdb_file.screening import has_known, screen

__all__ = [
    "Actions",
    "Catalog",
    "Cursor",
    "Entry",
    "Rows",
    "build_unknown",
    "count_gaps",
    "count_quality",
    "has_known",
    "read_actions",
    "read_adjusting",
    "read_catalog",
    "read_coverage",
    "read_coverages",
    "read_exchanges",
    "read_instrument",
    "read_instruments",
    "read_listing",
    "read_many_series",
    "read_noted_days",
    "read_notes",
    "read_revisions",
    "read_run",
    "read_run_ids",
    "read_run_symbols",
    "read_runs",
    "read_series",
    "read_totals",
    "screen",
    "search_listings",
]
