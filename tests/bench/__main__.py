"""What make bench runs: requests a second (speed), transform and load (loads), what reads cost as
the store grows (reads)."""

import argparse
import shutil
import sys

from tests.bench import loads, reads, speed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    speed.add_options(parser)
    loads.add_options(parser)
    reads.add_options(parser)
    parser.add_argument("--only", choices=("speed", "loads", "reads"), help="one of the three")
    args = parser.parse_args()
    if not shutil.which("wrk"):
        print("wrk is missing (Debian, Ubuntu: apt install wrk)", file=sys.stderr)
        return 1
    for name, part in (("speed", speed), ("loads", loads), ("reads", reads)):
        if args.only in (None, name):
            part.run(args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
