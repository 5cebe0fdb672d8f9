"""The API's answers are the same bytes whatever engine keeps the minutes, over random stores."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from etl.contracts.minutes import NOTES, SESSIONS, SPANS, Batch, MinuteStore
from etl.contracts.minutes.engines import Place, open_place
from etl.market.sessions import list_sessions
from tests.clickhouse_server import share_clickhouse
from tests.minute_stores import bar, batch, load, make_table
from tests.postgres_server import shared_server
from tests.server import serve

EXCHANGES = {"XNYS": date(2013, 3, 8), "XLON": date(2013, 3, 28), "XTKS": date(2013, 3, 28)}
OTHERS = {"24/7": date(2013, 3, 9), "": date(2013, 3, 9)}
FIRST_ANSWER = datetime(2013, 5, 1)  # noqa: DTZ001
# {s}: a symbol, {t}: the other one of its store, {a} and {b}: instants in its span, {k}: one at
# which an answer was known.
URLS = (
    "/instruments/{s}/ohlcv?interval=1m&limit=5000",
    "/instruments/{s}/ohlcv?interval=5m&hours=extended&format=csv",
    "/instruments/{s}/ohlcv?interval=15m&start={a}&end={b}&format=columns",
    "/instruments/{s}/ohlcv?interval=1h&hours=extended&order=desc&limit=7",
    "/instruments/{s}/ohlcv?interval=1m&hours=extended&as_of={k}&limit=5000",
    "/instruments/{s}/ohlcv?interval=30m&as_of={k}",
    "/instruments/{s}/ohlcv?interval=1m&hours=extended&format=arrow",
    "/ohlcv?symbols={s},{t}&interval=5m&hours=extended",
    "/instruments/{s}/indicators?interval=5m&names=sma:3,rsi:4,vwap:3&hours=extended",
    "/instruments/{s}/returns?interval=1m&hours=extended",
    "/instruments/{s}/statistics?interval=5m&hours=extended",
    "/instruments/{s}/notes?interval=1m",
    "/instruments/{s}/revisions?interval=1m",
    "/instruments/{s}/coverage?interval=1m",
    "/udf/history?symbol={s}&resolution=15&from=1362700000&to=1365800000",
    "/instruments/{s}",
)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """Folder and MINUTE_STORE of an empty store on each engine."""
    folders = [tmp_path_factory.mktemp("equal") for _ in range(3)]
    clickhouse = share_clickhouse()
    clickhouse.run("CREATE DATABASE equal")
    return list(
        zip(
            folders,
            ("", clickhouse.name_url("equal"), shared_server().create()),
            strict=True,
        )
    )


def make_stores(numbers: range) -> Iterator[Batch]:
    """Loads of small stores of two symbols each: what came, came once more, or was corrected. What
    comes at one time is one batch: a load costs more than its bars."""
    stores = [list(make_store(number)) for number in numbers]
    for answer, batches in enumerate(zip_longest(*stores)):
        given = [each for each in batches if each]
        tables = ("bars", "notes", "spans", "sessions")
        merged = {name: pa.concat_tables([getattr(e, name) for e in given]) for name in tables}
        sessions = merged["sessions"].group_by(SESSIONS.names).aggregate([])
        exchanges = {symbol: name for each in given for symbol, name in each.exchanges.items()}
        yield Batch(
            "1m", exchanges=exchanges, **{**merged, "sessions": sessions}, is_live=answer == 2
        )


def make_store(number: int) -> Iterator[Batch]:
    """The answers about two symbols."""
    rng = random.Random(number)
    exchange, day = rng.choice([*EXCHANGES.items(), *OTHERS.items()])
    names = [f"R{number}{letter}" for letter in "AB"]
    rows = [row for name in names for row in make_bars(rng, name, exchange, day)]
    for answer in range(rng.randint(1, 4)):
        came = [revise(rng, row, answer) for row in rows if answer == 0 or rng.random() < 0.3]
        rng.shuffle(came)
        at = sorted(row["timestamp"] for row in came or rows)
        span = (names[1], at[0], at[-1], "files", FIRST_ANSWER + timedelta(days=answer))
        yield replace(
            batch(*came),
            exchanges=dict.fromkeys(names, exchange),
            notes=make_table([(names[0], at[0], "spike", f"by {answer} %")], NOTES),
            spans=make_table([span], SPANS),
            sessions=list_known(exchange, day),
        )


def make_bars(
    rng: random.Random, symbol: str, exchange: str, day: date
) -> Iterator[dict[str, Any]]:
    """Some minutes of some days, prices and volumes of some unit."""
    places, decimals = rng.choice([0, 2, 2, 4, 6]), rng.choice([0, 0, 0, 2, 5])
    begin = datetime(day.year, day.month, day.day, rng.choice([0, 7, 13]))  # noqa: DTZ001
    for minute in sorted(rng.sample(range(4 * 1440), rng.randint(1, 120))):
        close = round(rng.uniform(1, 900), places) or 1.0
        volume = rng.choice([None, 0, rng.randrange(10**9)])
        when = begin + timedelta(minutes=minute)
        yield bar(symbol, when, close, FIRST_ANSWER, volume, decimals, "files")


def revise(rng: random.Random, row: dict[str, Any], answer: int) -> dict[str, Any]:
    """What an answer says of a bar: mostly the same; some answers come late."""
    told = FIRST_ANSWER + timedelta(days=answer, hours=-30 * (rng.random() < 0.2))
    moved = {"close": row["close"] + 0.25} if answer and rng.random() < 0.5 else {}
    return row | moved | {"fetched_at": told}


@cache
def list_known(exchange: str, day: date) -> Any:
    if exchange not in EXCHANGES:
        return SESSIONS.empty_table()
    table = list_sessions(exchange, day - timedelta(days=20))
    return table.select(SESSIONS.names).cast(SESSIONS).slice(0, 40)


def fill_urls(number: int) -> Iterator[str]:
    rng = random.Random(number)
    for url in URLS:
        a, b = sorted(rng.randrange(4 * 1440) for _ in "ab")
        start = datetime(2013, 3, 9, tzinfo=UTC)
        yield url.format(
            s=f"R{number}A",
            t=f"R{number}B",
            a=f"{start + timedelta(minutes=a):%Y-%m-%dT%H:%M}Z",
            b=f"{start + timedelta(days=20, minutes=b):%Y-%m-%dT%H:%M}Z",
            k=f"{FIRST_ANSWER + timedelta(days=rng.randint(-1, 4)):%Y-%m-%dT%H:%M:%S}Z",
        )


def check_equal(engines: list[tuple[Path, str]], numbers: range) -> int:
    """How many answers were compared; most of them are of bars."""
    stores: list[MinuteStore] = [open_place(Place(folder, url)) for folder, url in engines]
    for each in make_stores(numbers):
        for store in stores:
            load(store, each)
    for store in stores:
        store.close()
    urls = [url for number in numbers for url in fill_urls(number)]
    with ExitStack() as serving:
        clients = [
            serving.enter_context(serve(folder, MINUTE_STORE=url)) for folder, url in engines
        ]
        found = 0
        for url in [*urls, "/instruments"]:
            answers = [describe(client.get(url)) for client in clients]
            assert answers[0][0] in (200, 404), (url, answers[0])
            assert answers[1:] == answers[:1] * 2, url
            found += answers[0][0] == 200
    assert found > len(urls) * 0.8
    return found


def describe(answer: httpx.Response) -> tuple[int, str, bytes]:
    return answer.status_code, answer.headers["content-type"], answer.content


def test_answers_of_ten_random_stores_are_the_same_bytes(engines: list[tuple[Path, str]]) -> None:
    check_equal(engines, range(10))


@pytest.mark.minutes
def test_answers_of_two_hundred_random_stores_are_the_same_bytes(
    engines: list[tuple[Path, str]],
) -> None:
    check_equal(engines, range(10, 210))
