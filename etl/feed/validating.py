"""Messages as bars, by the rules of transform: what is clean, and what is refused with a reason."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import pyarrow as pa

from etl.base.instances import borrow
from etl.contracts.files import PRICES
from etl.contracts.minute_files import RAW_MINUTES
from etl.contracts.minutes import BASE_INTERVALS, BATCH_BARS, SESSIONS, Batch
from etl.feed.messages import BAR, UPDATED, Message
from etl.market.exchanges import find_exchange
from etl.market.sessions import MARGIN, list_sessions
from etl.minute_stages.transform import select_typed
from etl.settings import Settings

NO_MESSAGE = "no message of a vendor"
NO_INTERVAL = "an interval that is not stored"
RAW = RAW_MINUTES.append(pa.field("place", pa.int64()))


class Refused(NamedTuple):
    message: Message
    reason: str


class Validated(NamedTuple):
    """One batch an interval that has clean bars, and what is no bar of a minute."""

    batches: list[Batch]
    refused: list[Refused]


def validate(messages: Sequence[Message], settings: Settings, is_replay: bool) -> Validated:
    """Today's daily bars are neither: nothing is stored of them."""
    refused: list[Refused] = []
    by_interval: dict[str, list[Message]] = {}
    for message in messages:
        if message.kind not in (BAR, UPDATED):
            refused += [Refused(message, NO_MESSAGE)] if message.text else []
        elif message.interval not in BASE_INTERVALS:
            refused.append(Refused(message, NO_INTERVAL))
        else:
            by_interval.setdefault(message.interval, []).append(message)
    batches = []
    for interval, some in by_interval.items():
        bars, reasons = validate_bars(some, interval, settings)
        refused += [Refused(some[place], reason) for place, reason in reasons]
        if bars.num_rows:
            batches.append(build_batch(interval, bars, settings, is_replay))
    return Validated(batches, refused)


def validate_bars(
    messages: Sequence[Message], interval: str, settings: Settings
) -> tuple[pa.Table, list[tuple[int, str]]]:
    """BATCH_BARS, and (place among the messages, reason) of the others."""
    with borrow({"threads": "1"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("raw_here", build_raw(messages))
        connection.execute("CREATE TEMP VIEW raw AS FROM raw_here")
        select = select_typed(connection, settings, BASE_INTERVALS[interval])
        connection.execute(f"CREATE TEMP TABLE typed AS {select}")
        names = ", ".join(BATCH_BARS.names)
        clean = connection.sql(f"SELECT {names} FROM typed WHERE reason IS NULL ORDER BY place")
        rows = connection.sql("SELECT place, reason FROM typed WHERE reason IS NOT NULL")
        return clean.to_arrow_table().cast(BATCH_BARS), sorted(rows.fetchall())


def build_raw(messages: Sequence[Message]) -> pa.Table:
    count = len(messages)
    columns = {name: [getattr(each, name) for each in messages] for name in ("symbol", "timestamp")}
    columns |= {name: [getattr(each, name) for each in messages] for name in (*PRICES, "volume")}
    columns |= {"source": [each.source for each in messages]}
    columns |= {"interval": [each.interval for each in messages]}
    same = {"stamp_is": "start", "basis": "raw"}
    return pa.table(
        {
            **{name: pa.nulls(count, RAW_MINUTES.field(name).type) for name in RAW_MINUTES.names},
            **columns,
            **{name: [value] * count for name, value in same.items()},
            "fetched_at": pa.array([each.received_at for each in messages], pa.timestamp("us")),
            "place": list(range(count)),
        },
        schema=RAW,
    )


def build_batch(interval: str, bars: pa.Table, settings: Settings, is_replay: bool) -> Batch:
    symbols = bars["symbol"].unique().to_pylist()
    exchanges = {each: find_exchange(each, settings.exchange) or "" for each in symbols}
    stamps = bars["timestamp"].to_numpy().astype("datetime64[D]")
    span = stamps.min().item(), stamps.max().item()
    return Batch(
        interval,
        bars,
        exchanges,
        sessions=list_near({name for name in exchanges.values() if name}, *span),
        is_live=True,
        tells_again=is_replay,
    )


def list_near(exchanges: set[str], first: date, last: date) -> pa.Table:
    """The sessions of these days, and those of a month before and after."""
    tables = [list_sessions(each, first - MARGIN, last + MARGIN) for each in sorted(exchanges)]
    return pa.concat_tables([SESSIONS.empty_table(), *(each.cast(SESSIONS) for each in tables)])
