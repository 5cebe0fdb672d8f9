"""Minutes in DuckDB files: one a month and interval, never written again once it is published.

    minutes/current.json                 what is published: its rename is the publication
    minutes/index.<counter>.duckdb       sums by symbol, exchanges, sessions, spans
    minutes/1m/2024-03.<counter>.duckdb  bars, revisions, notes of that month (UTC)

A load copies the files of the months that it touches, and writes to the copies; the others stay.
The files of the generation before stay too, for who reads them; older ones go with the next.
"""

from etl.contracts.minutes.duckdb_files.file_store import FileStore
from etl.contracts.minutes.engines import Place


def open_store(place: Place) -> FileStore:
    return FileStore(place.data_dir / "minutes", place.memory_mb)
