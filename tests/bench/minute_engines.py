"""A month of a symbol: the service over DuckDB files beside what the other engines say themselves.

ClickHouse answers by HTTP with rows of JSON (its engine in a process, behind the server of the
tests, which passes bytes on); PostgreSQL gives its rows to psycopg, in binary form. Both have fewer
symbols than the files.
"""

import re
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, time, timedelta
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import pytest

from etl.contracts.minutes import Batch
from etl.contracts.minutes.engines import Place, open_place
from tests.bench import minute_bars
from tests.bench.minute_bars import Shape
from tests.bench.minute_reads import COLUMNS, list_places, write_url
from tests.bench.minute_rows import NO_TIME, Pair, Took, show_times
from tests.bench.servers import serve_service
from tests.clickhouse_server import run_clickhouse
from tests.postgres_server import run_postgres

SYMBOLS = 20
COUNT = re.compile(rb'"count":(\d+)')
WHERE = "symbol = {symbol} AND timestamp >= {start} AND timestamp < {end} ORDER BY timestamp"
Days = tuple[date, date]
Read = Callable[[str, Days], int]  # the rows of a symbol, how many they are


def measure(folder: Path, data: Path, shape: Shape) -> None:
    names, days = choose(shape)
    batch = minute_bars.build_batch(names, days)
    for compare in (compare_clickhouse, compare_postgres):
        try:
            compare(folder, data, batch, days)
        except pytest.skip.Exception as reason:
            print(f"  not measured: {reason}")


def choose(shape: Shape) -> tuple[list[str], list[date]]:
    """Symbols, and the sessions of a month."""
    places = list(list_places(shape))
    month = places[0][1]
    return [name for name, days in places if days == month][:SYMBOLS], month


def compare_clickhouse(folder: Path, data: Path, batch: Batch, days: list[date]) -> None:
    with run_clickhouse(folder) as server:
        place = Place(folder, server.name_url("minutes"))
        server.run("CREATE DATABASE minutes")
        told = fill(place, batch)
        told += f", {read_number(server.run(BYTES_OF_CLICKHOUSE)) / batch.bars.num_rows:.1f} bytes"
        print(f"  ClickHouse: {told} a bar")
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=120)) as link:

            def read(symbol: str, asked: Days) -> int:
                start, end = find_bounds(asked)
                where = WHERE.format(symbol=f"'{symbol}'", start=f"'{start}'", end=f"'{end}'")
                select = f"SELECT {COLUMNS} FROM bars_1m FINAL WHERE {where} FORMAT JSONEachRow"
                link.request("POST", "/?database=minutes", select.encode())
                answer = link.getresponse()
                body = answer.read()
                assert answer.status == 200, body
                return body.count(b"\n")

            compare_reads("ClickHouse's own", data, batch, days, read)


BYTES_OF_CLICKHOUSE = (
    "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'minutes'"
    " AND table = 'bars_1m'"
)
BYTES_OF_POSTGRES = """SELECT sum(pg_total_relation_size(relid))::bigint
    FROM pg_partition_tree('minutes.bars_1m')"""


def compare_postgres(_: Path, data: Path, batch: Batch, days: list[date]) -> None:
    with run_postgres() as server:
        import psycopg

        address = server.create()
        told = fill(Place(data, address), batch)
        database = address.rpartition("/")[2]
        size = read_number(server.execute(BYTES_OF_POSTGRES, database=database)[0][0])
        print(f"  PostgreSQL: {told}, {size / batch.bars.num_rows:.1f} bytes a bar")
        where = WHERE.format(symbol="%s", start="%s", end="%s")
        select: Any = f"SELECT {COLUMNS} FROM minutes.bars_1m WHERE {where}"
        with psycopg.connect(address, autocommit=True) as link:

            def read(symbol: str, asked: Days) -> int:
                values = (symbol, *find_bounds(asked))
                return len(link.execute(select, values, binary=True).fetchall())

            compare_reads("PostgreSQL's, by psycopg", data, batch, days, read)


def fill(place: Place, batch: Batch) -> str:
    with closing(open_place(place)) as store:
        cost = minute_bars.load(store, iter([batch]))
    return f"{cost.bars:,} bars loaded in {cost.wall:.1f} s, {cost.cpu:.1f} of this processor"


def read_number(said: Any) -> int:
    return int(said)


def find_bounds(asked: Days) -> tuple[datetime, datetime]:
    first, last = asked
    return datetime.combine(first, time()), datetime.combine(last + timedelta(1), time())


def compare_reads(who: str, data: Path, batch: Batch, days: list[date], read: Read) -> None:
    """The first question for a month, and the next: without its first session."""
    names = list(batch.exchanges)
    with serve_service(data) as service, closing(connect(service.base)) as link:

        def ask(symbol: str, asked: Days) -> int:
            link.request("GET", write_url(symbol, *asked))
            return int(COUNT.findall(link.getresponse().read(), 0, 1_000)[0])

        for name in names[:2]:  # files are opened, statements are planned
            take_pair(ask, read, name, (days[0], days[-1]))
        both = [
            [take_pair(ask, read, name, (days[place], days[-1])) for place in (0, 1)]
            for name in names[2:]
        ]
    show_times(f"a month, first question; {who}", [first for first, _ in both], 1.3)
    show_times(f"a month, second question; {who}", [second for _, second in both], 1.0)


def connect(base: str) -> HTTPConnection:
    return HTTPConnection(urlsplit(base).netloc, timeout=120)


def take_pair(ask: Read, read: Read, symbol: str, asked: Days) -> Pair:
    ours, peer = clock(ask, symbol, asked), clock(read, symbol, asked)
    assert ours[0] == peer[0], f"{ours[0]} bars, {peer[0]} there"
    return ours[1], peer[1]


def clock(read: Read, symbol: str, asked: Days) -> tuple[int, Took]:
    began = perf_counter()
    count = read(symbol, asked)
    return count, Took(perf_counter() - began, NO_TIME)
