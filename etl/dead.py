"""List live bars that could not be stored, each with its reason; --resend hands them on anew."""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import sys
from datetime import UTC, datetime
from functools import partial

from etl.base import command
from etl.bus import DeadEntry
from etl.credentials.redaction import strike
from etl.feed.running import call, opened_bus
from etl.settings import Settings

MOST = 1_000


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.dead", __doc__)
    parser.add_argument("--resend", action="store_true", help="publish them anew, and list them")
    parser.add_argument("--most", type=int, default=MOST, help=f"so many at most ({MOST})")
    args = parser.parse_args(argv)
    return call(partial(work, args))


def work(args: argparse.Namespace, settings: Settings) -> None:
    with opened_bus(settings, "what is kept apart is kept in a bus: set") as bus:
        dead = bus.list_dead(args.most)
        for each in dead:
            print(strike(show(each)))
        sent = bus.resend(dead) if args.resend else 0
        left = bus.measure().dead
    print(f"{len(dead)} listed, {sent} sent again, {left} kept", file=sys.stderr)


def show(dead: DeadEntry) -> str:
    at = datetime.fromtimestamp(dead.buried_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = dead.body[:400].decode(errors="backslashreplace")
    return f"{dead.position}  {at}  {dead.reason}  {body!r}"


if __name__ == "__main__":
    raise SystemExit(main())
