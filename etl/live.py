"""Stream live bars and store them, in one process and with nothing else installed.

Without a key of a vendor the stored minutes are replayed. Ends with SIGTERM, or with the replay.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import asyncio
from contextlib import closing

from etl.base import command
from etl.bus import Bus
from etl.bus.memory import MemoryBus
from etl.feed.running import MIB, call, consume, run, stream
from etl.settings import Settings


def main(argv: list[str] | None = None) -> int:
    command.build_parser("etl.live", __doc__).parse_args(argv)
    return call(work)


def work(settings: Settings) -> None:
    with closing(MemoryBus(settings.bus_max_mb * MIB)) as bus:
        run(lambda is_over: stream_and_consume(settings, bus, is_over))


async def stream_and_consume(settings: Settings, bus: Bus, is_over: asyncio.Event) -> None:
    """The consumer ends after the stream, when all that came is stored."""
    is_drained = asyncio.Event()
    consuming = asyncio.create_task(consume(settings, bus, is_drained))
    streaming = asyncio.create_task(stream(settings, bus, is_over))
    try:
        await asyncio.wait((consuming, streaming), return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_over.set()
        try:
            await streaming
        finally:
            is_drained.set()
            await consuming


if __name__ == "__main__":
    raise SystemExit(main())
