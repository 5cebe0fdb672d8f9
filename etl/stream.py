"""Take a vendor's live bars, or a replay of stored ones, into the bus that BUS_URL names.

It stores nothing: any number of `python -m etl.consume` do. Ends with SIGTERM, and hands on first
what it has.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

from etl.base import command
from etl.feed.running import call, opened_bus, run, stream
from etl.settings import Settings


def main(argv: list[str] | None = None) -> int:
    command.build_parser("etl.stream", __doc__).parse_args(argv)
    return call(work)


def work(settings: Settings) -> None:
    with opened_bus(settings, "a stream by itself wants") as bus:
        run(lambda is_over: stream(settings, bus, is_over))


if __name__ == "__main__":
    raise SystemExit(main())
