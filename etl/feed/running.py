"""What make stream, make consume and make live have in common: one loop, and how it is stopped."""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from etl.base.parquet_sql import describe
from etl.base.secret_log import log_to_terminal
from etl.bus import Bus, BusError
from etl.bus.choose import open_bus
from etl.contracts.minutes import MinuteSnapshot, MinuteStoreError
from etl.contracts.minutes.engines import open_minutes
from etl.contracts.minutes.replay import read_start
from etl.feed.connection import Stream
from etl.feed.consumer import Consumer
from etl.feed.messages import Message
from etl.feed.missed import ask_missed
from etl.feed.outbox import Outbox
from etl.feed.replay import Replay
from etl.feed.telling import Teller
from etl.feed.vendors import AlpacaFeed, Feed, MassiveFeed, Refused, check_keys
from etl.market.exchanges import find_exchange
from etl.market.sessions import is_open
from etl.settings import Settings, SettingsError, read_settings

log = logging.getLogger("etl")

MIB = 1 << 20
ALONE = ": the address of a Redis or Kafka; make live needs none, and does both in one process"
Take = Callable[[Message], None]
FULL_BUS = 0.5  # of its bytes: a replay waits for those who store


def call(work: Callable[[Settings], None]) -> int:
    """Read the settings and work; an error is one line, and an exit code: 2 for settings."""
    try:
        settings = read_settings(Settings)
        log_to_terminal(settings)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        work(settings)
    except (SettingsError, Refused) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BusError, MinuteStoreError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        return 1
    return 0


def choose_source(settings: Settings) -> str:
    """As STREAM_SOURCE says, else whose key there is. SettingsError where a key is missing."""
    if settings.stream_source:
        check_keys(settings, settings.stream_source)
        return settings.stream_source
    if settings.alpaca_key_id.value and settings.alpaca_secret_key.value:
        return "alpaca"
    return "massive" if settings.massive_api_key.value else "replay"


@contextmanager
def opened_bus(settings: Settings, wanted: str) -> Iterator[Bus]:
    """The bus of BUS_URL while the block runs; what it may lose is named in the log. SettingsError
    without an address; `wanted` begins it: what wants one."""
    if not settings.bus_url:
        raise SettingsError(f"{wanted} BUS_URL{ALONE}")
    with closing(open_bus(settings.bus_url, settings.bus_max_mb * MIB)) as bus:
        if danger := bus.find_danger():
            log.warning("bus: %s", danger)
        yield bus


def run(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Until it ends, or SIGINT or SIGTERM comes: then it has time to hand on what it has."""

    async def run_here() -> None:
        is_over = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, is_over.set)
        await work(is_over)

    asyncio.run(run_here())


async def stream(settings: Settings, bus: Bus, is_over: asyncio.Event) -> None:
    """From the source into the bus, until it is over: a replay by itself, a vendor never."""
    source = choose_source(settings)
    outbox = Outbox(bus, settings.bus_max_mb * MIB)
    is_done = asyncio.Event()
    publishing = asyncio.create_task(outbox.run(is_done))
    try:
        if source == "replay":
            await replay(settings, outbox, is_over)
        else:
            await build_stream(settings, source, outbox).run(is_over)
    finally:
        is_done.set()
        await publishing
        log.info("stream: %s bars published", f"{outbox.published:,}")


async def consume(settings: Settings, bus: Bus, is_over: asyncio.Event) -> None:
    """From the bus into the store, in a thread, until it is over and what is there is stored."""
    ends = threading.Event()
    with closing(open_minutes(settings)) as store:
        is_replay = choose_source(settings) == "replay"
        consumer = Consumer(settings, bus, store, is_replay, tell=Teller(settings).tell)
        working = asyncio.create_task(asyncio.to_thread(consumer.run, ends))
        over = asyncio.create_task(is_over.wait())
        await asyncio.wait((working, over), return_when=asyncio.FIRST_COMPLETED)
        ends.set()
        await working
        await asyncio.to_thread(consumer.drain)
        told = consumer.state.stored._asdict().items()
        log.info("consume: %s", ", ".join(f"{count:,} {name}" for name, count in told if count))


def build_stream(settings: Settings, source: str, outbox: Outbox) -> Stream:
    feed: Feed = AlpacaFeed(settings) if source == "alpaca" else MassiveFeed(settings)
    symbols = list_symbols(settings)
    exchanges = {find_exchange(symbol, settings.exchange) for symbol in symbols}

    def is_expected() -> bool:
        return any(
            exchange is None or is_open(exchange, datetime.now(UTC)) for exchange in exchanges
        )

    def catch_up(last: int) -> None:
        """In a thread: what comes meanwhile is not kept waiting."""
        begin = partial(ask_since, settings, source, symbols, last, outbox.add)
        asyncio.get_running_loop().run_in_executor(None, begin)

    return Stream(feed, symbols, outbox.add, settings.stream_silence, is_expected, catch_up)


def ask_since(
    settings: Settings, source: str, symbols: tuple[str, ...], last: int, take: Take
) -> None:
    """Ask for what came since the last bar that was heard (microseconds since 1970), or at the
    start since the last that is stored; nothing where none is."""
    try:
        since = (
            find_last(settings, symbols) if not last else datetime.fromtimestamp(last / 1e6, UTC)
        )
        if since is not None:
            ask_missed(settings, source, symbols, since - timedelta(minutes=1), take)
    except (MinuteStoreError, OSError) as error:
        log.warning("stream: what was missed is left to make minutes: %s", describe(error))


def find_last(settings: Settings, symbols: tuple[str, ...]) -> datetime | None:
    with closing(open_minutes(settings)) as store:
        known = store.snapshot().instruments
        found = [known[each, "1m"].last for each in symbols if (each, "1m") in known]
    return max(found).replace(tzinfo=UTC) if found else None


def list_symbols(settings: Settings) -> tuple[str, ...]:
    symbols = settings.stream_symbols or settings.symbols
    if not symbols:
        raise SettingsError("which symbols are to be streamed? Set STREAM_SYMBOLS")
    return symbols


async def replay(settings: Settings, outbox: Outbox, is_over: asyncio.Event) -> None:
    with closing(open_minutes(settings)) as store:
        snapshot = store.snapshot()
        symbols = settings.stream_symbols or list_stored(snapshot)
        if not symbols:
            raise SettingsError("there are no minutes to replay: make minutes makes some")
        log.info("replay of %s symbols at speed %g", f"{len(symbols):,}", settings.stream_speed)
        await Replay(
            snapshot,
            symbols,
            "1m",
            outbox.add,
            lambda: outbox.bytes > settings.bus_max_mb * MIB * FULL_BUS,
            settings.stream_speed,
            read_start(settings.stream_start),
        ).run(is_over)


def list_stored(snapshot: MinuteSnapshot) -> tuple[str, ...]:
    return tuple(sorted({symbol for symbol, interval in snapshot.instruments if interval == "1m"}))
