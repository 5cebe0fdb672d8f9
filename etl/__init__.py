"""Fetch, judge and store daily bars. Data flows one way; each arrow is a Parquet file.

    vendor → extract → raw_data.parquet → transform → clean_data.parquet → load → market_data.duckdb

settings   every setting of the ETL, declared once
errors     the error tree: the type of an error decides what happens
schema     the contracts: columns of the raw and clean files, tables of the database
digests    of bars: what moves when a stored value does
uniqueness which symbols may have a key twice
sources    one vendor, one module: fetch (I/O) and parse (pure)
sessions   which days an exchange trades, and when a session closes
quality    the rules that reject a row, declared as reason + condition
notes      the rules that leave a note on a kept bar
breaks     those of them that look at prices around: units, splits, spikes
archive    every paid answer, as it came
budget     the vendor's calls, counted across runs, and what it refused
pace       when the next call may start; clock: what time it is
plan       which calls to make, in which order, and why
dispatch   make them, as many in flight as the budget allows
download   one GET, bounded in time and size
raw_files  the two files that extract publishes
stage      what every stage does around its work: lock, log, run record, publication of files
extract    renames, never judges
transform  judges, never fetches or stores
load       stores, never judges; next_version: builds what it publishes
reevaluation  gaps and notes of symbols whose calendar changed, anew
report     one page of the last run and the store, out of findings (SQL), heatmap and moves
"""
