"""Fetch, validate and store daily bars. Data flows one way; each arrow is a Parquet file.

    vendor → extract → raw_data.parquet → transform → clean_data.parquet → load → market_data.duckdb

The floors, top down; an import goes down or stays on its floor (tests/test_floors.py):

__main__    the three stages in order, under one lock: `make etl`
extract     renames columns, never rejects a value
transform   validates each row, never fetches or stores
load        stores, never rejects a row that transform took
minutes     the same three for bars of minutes: `make minutes`; its stages are in minute_stages
verify, rollback, report, check   what `make` runs beside them
sources     one vendor, one folder: fetch (I/O) and parse (pure)
store       what is known and since when; duckdb_file builds and publishes the next version
reporting   the parts of make report
calls       paid calls: planned, counted, paced, made, archived
rules       what is rejected, what is noted: SQL over relations, no store
contracts   columns of the files between the stages, tables of the store
market      which calendar a symbol keeps, and its sessions
base        command line, lock, run record, whole files, SQL over Parquet, log, errors, clock
settings    every setting of the ETL, declared once; calendar_names: which calendars there are
"""
