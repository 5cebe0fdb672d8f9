"""Minutes in PostgreSQL 15 or newer, and in TimescaleDB where it is installed."""

from etl.contracts.minutes.engines import Place
from etl.contracts.minutes.postgresql.address import read_address
from etl.contracts.minutes.postgresql.store import PostgresStore


def open_store(place: Place) -> PostgresStore:
    return PostgresStore(
        read_address(place.url, place.read_password(), str(place)), place.memory_mb
    )
