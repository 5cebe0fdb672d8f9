"""What make bench runs: requests a second (speed), transform and load (loads), what reads cost as
the store grows (reads), what publications leave of the kept answers (kept), and what metrics,
callers, limits and the access log cost (guarded), what a Redis for four instances is worth
(shared), and how bars of minutes are read and loaded (minutes)."""

import argparse
import shutil
import sys

from tests.bench import guarded, kept, loads, minutes, reads, shared, speed

PARTS = (
    *(("speed", speed), ("loads", loads), ("reads", reads), ("kept", kept)),
    *(("guarded", guarded), ("shared", shared), ("minutes", minutes)),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    speed.add_options(parser)
    loads.add_options(parser)
    reads.add_options(parser)
    kept.add_options(parser)
    guarded.add_options(parser)
    shared.add_options(parser)
    minutes.add_options(parser)
    parser.add_argument("--only", choices=[name for name, _ in PARTS], help="one of them")
    args = parser.parse_args()
    if not shutil.which("wrk"):
        print("wrk is missing (Debian, Ubuntu: apt install wrk)", file=sys.stderr)
        return 1
    for name, part in PARTS:
        if args.only in (None, name):
            part.run(args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
