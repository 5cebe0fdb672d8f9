"""Serve the published bars. A request meets, in this order:

    edge (protocol, gate, ranges, answers: finished bytes) → routes → cache (series) → store
                                                bars (adjust, resample), figures → encode

The floors, top down; an import goes down or stays on its floor (tests/test_floors.py):

main        the application factory and `python -m api.main`
protocols   UDF and OpenBB, whose contracts are written elsewhere
routes      thin: declare typed parameters, call, return; page and docs: files and their routes
edge        what a request meets before a route: connections, heads, Host, ranges, answer cache
cache       what a worker keeps, bounded in bytes: answers, columns of symbols
encode      the one way out for long answers: JSON, CSV, NDJSON, Parquet, Arrow, in turns
store       the published file: snapshots of it, and one function a question
figures     pure functions of series: performance, rolling figures, indicators
bars        one symbol's columns: slice, adjust, resample, cut into pages
models      parameters and answers by resource, as the documentation shows them
problems    one error body, made by one function; settings: every setting of the API, once
"""
