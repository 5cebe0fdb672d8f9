"""Serve the published bars. A request meets, in this order:

    protocol → main → gate → cache (finished bytes) → routes → holdings → queries → database
                                     series, resample, figures → formats → texts

settings     every setting of the API, declared once
main         the application factory and `python -m api.main`
database     opens the published file read-only, once a version: a snapshot
protocol     connections and heads bounded; head and body of an answer in one write
gate         headers read once and bounded, Host, CORS, what keeps a browser careful
room         how much may be in the making at once
workers      blocking work in threads, its waiting and its running bounded
cache        finished answers as bytes, looked up before routing
passing      which routes the cache passes by
fingerprint  what the bytes of an answer depend on beside snapshot and request
once         a thing made once for all who ask for it at the same time
shortcut     a range of a held symbol, before routing
ranges       parts of an answer, by bytes, as some readers ask for a file
holdings     one symbol's columns, read once a generation
memory       what a worker keeps, bounded in bytes
errors       one error body, made by one function
models       parameters and answers by resource, as the documentation shows them
queries      the only SQL, one function a question
run_records  records of runs in data/runs/: those that published nothing stand nowhere else
series       one symbol's columns: slice, adjust, cut into pages
resample     daily bars to weeks, months, quarters and years
figures      pure functions of series: performance, rolling figures, indicators
formats      bars as JSON, columns, CSV, NDJSON, Parquet, Arrow; which one a request chooses
texts        columns as JSON arrays and as rows of JSON and CSV
turns        long work on the event loop, in turns with what is short
udf          what TradingView's charts read, in the shapes of their protocol
widgets      what OpenBB Workspace can show: widgets and dashboards
openbb       what those widgets show: figures, rows and metrics
docs         what /docs says, and its files
routes       thin: declare typed parameters, call, return
"""
