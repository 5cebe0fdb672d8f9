"""Notes that a load has brought: those of one generation of minutes that another had not."""

from collections.abc import Set
from datetime import datetime
from functools import partial
from typing import NamedTuple

from api.store.minutes import Minutes
from api.store.minutes.views import MinuteView

MOST = 100  # notes of a symbol that are told one by one
MOST_SYMBOLS = 100  # of a load, whose notes are looked at
Note = tuple[str, datetime, str, str]  # interval, timestamp, reason, detail


class Noted(NamedTuple):
    """New notes of a symbol, the first MOST of them; more: how many there are beside."""

    symbol: str
    notes: list[Note]
    more: int = 0


async def list_new_notes(
    minutes: Minutes, old: MinuteView | None, new: MinuteView, wanted: Set[str]
) -> list[Noted]:
    """wanted: symbols; none: all. Of those that nothing changed of, nothing is read."""
    names = [
        name
        for name in (wanted or new.instruments)
        if old is None or new.find_version(name) != old.find_version(name)
    ]
    told: list[Noted] = []
    for name in sorted(names)[:MOST_SYMBOLS]:
        found = await minutes.ask(partial(compare_notes, old, new, name))
        if found:
            told.append(Noted(name, found[:MOST], max(0, len(found) - MOST)))
    return told


def compare_notes(old: MinuteView | None, new: MinuteView, symbol: str) -> list[Note]:
    before = read_notes(old, symbol) if old is not None else set()
    return sorted(read_notes(new, symbol) - before)


def read_notes(view: MinuteView, symbol: str) -> set[Note]:
    return {
        (interval, row["timestamp"], row["kind"], row["detail"])
        for interval in view.instruments.get(symbol, {})
        for row in view.snapshot.notes(symbol, interval, None, None).to_pylist()
    }
