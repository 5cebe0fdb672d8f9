"""What make bench runs: requests a second (speed), then transform and load (loads)."""

import argparse

from tests.bench import loads, speed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    speed.add_options(parser)
    loads.add_options(parser)
    parser.add_argument("--only", choices=("speed", "loads"), help="one of the two")
    args = parser.parse_args()
    code = 0 if args.only == "loads" else speed.run(args)
    if args.only != "speed":
        loads.run(args)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
