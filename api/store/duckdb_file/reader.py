"""What can be asked of the published file: each question a function of its subject's module."""

from api.store.duckdb_file import bars, charting, instruments, quality, runs, screening
from api.store.duckdb_file.rows import Cursor


class FileReader(Cursor):
    """A cursor of one snapshot, with the questions as its methods (see api.store.Reader)."""

    read_catalog = instruments.read_catalog
    read_series = bars.read_series
    read_many_series = bars.read_many_series
    read_adjusting = bars.read_adjusting
    read_noted_days = bars.read_noted_days
    find_nearest = instruments.find_nearest

    read_instruments = instruments.read_instruments
    read_instrument = instruments.read_instrument
    read_totals = instruments.read_totals
    read_exchanges = charting.read_exchanges
    read_listing = charting.read_listing
    search_listings = charting.search_listings

    read_notes = quality.read_notes
    read_revisions = quality.read_revisions
    read_actions = quality.read_actions
    read_coverage = quality.read_coverage
    read_coverages = quality.read_coverages
    count_gaps = quality.count_gaps
    count_quality = quality.count_quality

    screen = screening.screen
    has_known = screening.has_known

    read_run_ids = runs.read_run_ids
    find_run_start = runs.find_run_start
    read_stored_runs = runs.read_stored_runs
    read_stored_run = runs.read_stored_run
    read_stored_symbols = runs.read_stored_symbols
