"""Serve the published bars. A request meets, in this order:

    main → cache (finished bytes, by generation) → routes → queries → database (a snapshot)
                                                          ↘ series, performance → formats

settings     every setting of the API, declared once
main         the application factory and `python -m api.main`
database     opens the published file read-only, once a version
cache        finished answers as bytes, looked up before routing
errors       one error body, made by one function
models       parameters and answers, as the documentation shows them
queries      the only SQL, one function a question
series       one symbol's columns: slice, adjust
performance  statistics of a series
formats      a series as bytes
docs         what /docs says, and its files
routes       thin: declare typed parameters, call, return
"""
