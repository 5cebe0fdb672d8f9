"""Whether what a store of minutes says of its symbols is what its rows give, whatever engine it is.

Everything is read again, in parts of bounded size, and computed anew by the code that loads use.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import duckdb
import pyarrow as pa

from etl.contracts.minutes import (
    NOTES,
    REVISIONS,
    SESSIONS,
    SPANS,
    MinuteInstrument,
    MinuteSnapshot,
)
from etl.contracts.minutes.digests import account, add_accounts, sum_notes, sum_spans
from etl.contracts.minutes.instruments import ACCOUNTS, describe

BARS_AT_ONCE = 500_000
MICROSECOND = timedelta(microseconds=1)
NAMED = 3  # symbols that a line names
# What must hold → the fields of an instrument that say so.
SAYS = {
    "each symbol has as many bars, from first to last, as the store says": (
        "bars",
        "first",
        "last",
    ),
    "the digest of each symbol is that of its bars": ("digest",),
    "the version of each symbol is that of its bars, revisions, notes, spans and sessions": (
        "version",
    ),
}
Key = tuple[str, str]
# ACCOUNTS out of what was counted of the bars and of what is beside them.
JOINED = f"""
SELECT $interval AS interval, '' AS exchange, a.*, coalesce(n.sum, 0)::UBIGINT AS noted,
       coalesce(s.sum, 0)::UBIGINT AS asked
FROM ({add_accounts("FROM counted")}) a
LEFT JOIN ({sum_notes("FROM notes")}) n USING (symbol)
LEFT JOIN ({sum_spans("FROM spans")}) s USING (symbol)"""


class Part(NamedTuple):
    """Symbols that are read at once, between two instants where one alone has too many bars."""

    symbols: list[str]
    start: datetime | None = None
    end: datetime | None = None


def verify_rows(
    snapshot: MinuteSnapshot, connection: duckdb.DuckDBPyConnection
) -> list[tuple[str, str]]:
    """As MinuteStore.verify."""
    found = recompute(snapshot, connection)
    lines = []
    for says, fields in SAYS.items():
        wrong = [
            f"{symbol} {interval}"
            for (symbol, interval), kept in sorted(snapshot.instruments.items())
            if not is_equal(kept, found.get((symbol, interval)), fields)
        ]
        lines.append((says, tell(wrong)))
    return lines


def is_equal(kept: MinuteInstrument, found: MinuteInstrument | None, fields: Sequence[str]) -> bool:
    return found is not None and all(getattr(kept, f) == getattr(found, f) for f in fields)


def tell(wrong: Sequence[str]) -> str:
    more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return ", ".join(wrong[:NAMED]) + more


def recompute(
    snapshot: MinuteSnapshot, connection: duckdb.DuckDBPyConnection
) -> Mapping[Key, MinuteInstrument]:
    """The instruments, out of all that is stored of them."""
    by_interval: dict[str, list[MinuteInstrument]] = {}
    for each in snapshot.instruments.values():
        by_interval.setdefault(each.interval, []).append(each)
    accounts = [ACCOUNTS.empty_table()]
    for interval, instruments in sorted(by_interval.items()):
        accounts.append(count_rows(snapshot, connection, interval, instruments))
    exchanges = {each.exchange for each in snapshot.instruments.values()}
    sessions = [snapshot.sessions(exchange, None, None) for exchange in sorted(exchanges)]
    kept = take_given(pa.concat_tables(accounts), snapshot.instruments)
    return describe(connection, kept, pa.concat_tables([SESSIONS.empty_table(), *sessions]))


def take_given(accounts: pa.Table, kept: Mapping[Key, MinuteInstrument]) -> pa.Table:
    """With the exchange that was given, and the unit, which may be of values withdrawn since."""
    rows = accounts.to_pylist()
    for row in rows:
        instrument = kept[row["symbol"], row["interval"]]
        unit = max(row["decimals"], instrument.volume_decimals)
        row.update(exchange=instrument.exchange, decimals=unit)
    return pa.Table.from_pylist(rows, ACCOUNTS)


def count_rows(
    snapshot: MinuteSnapshot,
    connection: duckdb.DuckDBPyConnection,
    interval: str,
    instruments: Sequence[MinuteInstrument],
) -> pa.Table:
    """ACCOUNTS of one interval."""
    counted, notes, spans = [], [NOTES.empty_table()], [SPANS.empty_table()]
    for part in plan_parts(instruments):
        bars = snapshot.stored(part.symbols, interval, part.start, part.end)
        old = [snapshot.revisions(each, interval, part.start, part.end) for each in part.symbols]
        revisions = pa.concat_tables([REVISIONS.empty_table(), *old])
        counted.append(account(connection, bars, revisions))
    for each in instruments:
        notes.append(snapshot.notes(each.symbol, interval, None, None))
        spans.append(snapshot.spans(each.symbol, interval))
    given = {"counted": counted, "notes": notes, "spans": spans}
    for name, tables in given.items():
        connection.register(name, pa.concat_tables(tables))
    found = connection.sql(JOINED, params={"interval": interval}).to_arrow_table()
    for name in given:
        connection.unregister(name)
    return found.select(ACCOUNTS.names).cast(ACCOUNTS)


def plan_parts(instruments: Sequence[MinuteInstrument]) -> Iterator[Part]:
    """Every bar in one part, of about BARS_AT_ONCE bars at most."""
    few: list[str] = []
    count = 0
    for each in sorted(instruments):
        if each.bars > BARS_AT_ONCE:
            yield from plan_spans(each)
            continue
        if few and count + each.bars > BARS_AT_ONCE:
            yield Part(few)
            few, count = [], 0
        few.append(each.symbol)
        count += each.bars
    if few:
        yield Part(few)


def plan_spans(instrument: MinuteInstrument) -> Iterator[Part]:
    """One symbol with many bars, in spans of equal length."""
    count = -(-instrument.bars // BARS_AT_ONCE)
    width = (instrument.last - instrument.first) / count + MICROSECOND
    for number in range(count):
        start = instrument.first + number * width
        yield Part([instrument.symbol], start, start + width)
