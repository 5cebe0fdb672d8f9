"""What every command stands on: command line, lock, run record, whole files, SQL over Parquet,
log, errors, clock.
Knows no vendor, no bar and no store.
"""
