"""Store the live bars that the bus has: a batch a second, each bar once, however often it comes.

Any number of them may run. Ends with SIGTERM, once the batch that it has is stored.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

from etl.base import command
from etl.feed.running import call, consume, opened_bus, run
from etl.settings import Settings


def main(argv: list[str] | None = None) -> int:
    command.build_parser("etl.consume", __doc__).parse_args(argv)
    return call(work)


def work(settings: Settings) -> None:
    with opened_bus(settings, "a consumer by itself wants") as bus:
        run(lambda is_over: consume(settings, bus, is_over))


if __name__ == "__main__":
    raise SystemExit(main())
