"""Copy the store of minutes into another, of whatever engine, and prove that both are equal.

What is stored is taken whole: bars, revisions, notes, spans, sessions, and since when bars are
known. A copy that was stopped goes on where it was; a target that has other bars is refused.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from contextlib import closing
from pathlib import Path

from etl.base import command
from etl.base.errors import StoreError
from etl.contracts.minutes import MinuteStore, MinuteStoreError
from etl.contracts.minutes.engines import Place, open_place
from etl.minute_stages.moving import Move
from etl.settings import Settings, SettingsError, to_minute_store

log = logging.getLogger("etl")

FILES = "files"
EXAMPLE = "postgresql://user@127.0.0.1:5432/database, or files:/folder"
WANTED = (
    "an address as of MINUTE_STORE, or files (the DuckDB files in DATA_DIR; files:/folder for those"
    " of another data folder)"
)
NAMED = 20  # symbols that are told one by one


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.minutes_copy", __doc__)
    parser.add_argument("--from", dest="source", default="", help=f"{WANTED}; else MINUTE_STORE")
    parser.add_argument("--to", dest="target", required=True, help=WANTED)
    return command.main(parser, "minutes-copy", copy, argv)


def copy(settings: Settings, args: argparse.Namespace) -> None:
    """Act 1: open both. Act 2: copy what is not there yet. Act 3: say whether they are equal."""
    chosen = args.source or settings.minute_store or FILES
    source, target = (find_place(settings, text) for text in (chosen, args.target))
    if str(source) == str(target):
        raise SettingsError(f"{source} is source and target: TO= another, as {EXAMPLE}")
    try:
        with closing(open_place(source)) as taken, closing(open_place(target)) as given:
            move(settings, taken, given, (str(source), str(target)))
    except MinuteStoreError as error:
        raise StoreError(f"{error}; what was copied is kept: run it again to go on") from error


def find_place(settings: Settings, text: str) -> Place:
    name, _, folder = text.partition(":")
    if name == FILES:
        return Place(command.from_here(folder) if folder else settings.data_dir)
    try:
        url = to_minute_store(text)
    except ValueError as error:
        raise SettingsError(f"FROM and TO must be {error}, or {FILES}") from None
    return Place(settings.data_dir, url, settings.minute_store_password.value)


def move(
    settings: Settings, source: MinuteStore, target: MinuteStore, names: tuple[str, str]
) -> None:
    with target.writing():
        moving = Move(source, target, names, settings.data_dir / "minutes-copy.json")
        moving.copy()
    differing = report(moving, names)
    if differing:
        raise StoreError(f"{differing} symbols are not equal: empty {names[1]}, and copy again")
    moving.progress.unlink(missing_ok=True)


def report(moving: Move, names: tuple[str, str]) -> int:
    """Print what was compared; how many symbols differ."""
    lines = moving.compare()
    wrong = [line for line in lines if line[1]]
    for name, differs in lines if len(lines) <= NAMED else wrong[:NAMED]:
        symbol, interval = name.split(" ")
        known = moving.seen.instruments.get((symbol, interval))
        told = differs or (known and f"{known.bars:,} bars, digest {known.digest}")
        print(f"{'WRONG' if differs else 'equal':5} {name}: {told}")
    bars = sum(each.bars for each in moving.seen.instruments.values())
    equal = len(lines) - len(wrong)
    print(
        f"{equal} of {len(lines)} symbols and {bars:,} bars are equal in {names[0]} and {names[1]}"
    )
    return len(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
