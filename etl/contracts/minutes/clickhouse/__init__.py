"""Minutes in ClickHouse: a server that MINUTE_STORE names, asked by HTTP.

    clickhouse://user@host:8123/database      clickhouses:// for TLS
    chdb:///folder                            its engine in this process, which has the folder alone

The tables are made by the first load (tables.py). How a load becomes visible: published.py; who may
write: lease.py. The API asks SELECTs alone.
"""

from importlib import import_module

from etl.contracts.minutes.clickhouse.address import read_address
from etl.contracts.minutes.clickhouse.store import ClickHouseStore
from etl.contracts.minutes.engines import Place


def open_store(place: Place) -> ClickHouseStore:
    address = read_address(place.url, place.read_password())
    if address.path:
        import_module("chdb")  # so that it is missed at once
    return ClickHouseStore(address, place.memory_mb)
