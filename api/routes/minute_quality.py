"""Coverage, notes and revisions of minutes: what /instruments/{symbol}/… answers with
interval=1m."""

from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import Request, Response

from api.bars.intraday import INTERVAL_SECONDS
from api.bars.minute_coverage import Coverage, SessionCounts, list_gaps
from api.bars.view import View
from api.bars.volumes import divide_volume
from api.cache.minute_bars import READ_AT_ONCE, Asked, build_asked, part_months, tell_clock
from api.models.quality import CoverageQuery, OfInterval
from api.routes.context import Context
from api.routes.lists import answer_json, count_on, cut_rows, move_on
from api.store import Rows
from api.store.minutes.views import MinuteView

if TYPE_CHECKING:
    from etl.contracts.minutes import MinuteInstrument


def list_intervals(found: "dict[str, MinuteInstrument] | None") -> list[dict[str, Any]]:
    """What is stored of a symbol beside days."""
    return [
        {
            "interval": each.interval,
            "first": show_instant(each.first),
            "last": show_instant(each.last),
            "bars": each.bars,
            "synthetic": each.is_synthetic,
        }
        for each in (found or {}).values()
    ]


def describe_minutes(found: "dict[str, MinuteInstrument]") -> dict[str, Any]:
    """The row of an instrument that has no daily bars."""
    first = next(iter(found.values()))
    names = ("actions_known_at", "splits_known_at", "dividends_known_at")
    return {
        **{"symbol": first.symbol, "first": None, "last": None, "bars": 0, "last_close": None},
        **{"source": first.sources[-1], "basis": "raw", "exchange": first.exchange or None},
        **dict.fromkeys(names),
    }


def add_minutes(rows: Rows, minutes: MinuteView | None, q: str, after: str, limit: int) -> Rows:
    """Instruments with the minutes that they have, and those that have minutes alone, in order."""
    known = minutes.instruments if minutes else {}
    last = rows[-1]["symbol"] if len(rows) == limit else None
    daily = {row["symbol"]: row for row in rows}
    text, passed = q.strip().upper(), after.strip().upper()
    alone = [name for name in known if text in name and name > passed and name not in daily]
    if last is not None:
        alone = [name for name in alone if name < last]
    daily |= {name: describe_minutes(known[name]) for name in alone}
    return [
        {**daily[name], "intervals": list_intervals(known.get(name))} for name in sorted(daily)
    ][:limit]


def show_instant(instant: datetime) -> str:
    """UTC, exact: 2013-02-28T14:30:00Z, with parts of a second where it has any."""
    return f"{instant.isoformat()}Z"


async def ask_for(context: Context, symbol: str, query: CoverageQuery | OfInterval) -> Asked:
    """What is asked of the stored bars of a symbol, of all or in a range."""
    start, end = getattr(query, "start", None), getattr(query, "end", None)
    view = View((), start, end, query.interval, hours="extended")
    return await build_asked(context, view, symbol.strip().upper(), None, is_stored=True)


async def answer_coverage(
    request: Request, context: Context, symbol: str, query: CoverageQuery
) -> Response:
    """Sessions and minutes counted; `limit` and `after` cut the list of gaps."""
    limit = context.check_limit(query.limit)
    asked = await ask_for(context, symbol, query)
    counts, bars = await count_sessions(context, asked)
    gaps, end = list_gaps(counts), query.after + limit
    notes = await context.minutes.ask(lambda: read_notes(asked))
    following = move_on(request, after=str(end)) if len(gaps) > end else None
    told = {**describe(asked), "bars": bars, **tell_counts(asked, counts)}
    kinds = pc.value_counts(notes["kind"]).to_pylist() if len(notes) else []
    noted = {each["values"]: each["counts"] for each in sorted(kinds, key=lambda k: k["values"])}
    page = gaps[query.after : end]
    return answer_json({**told, "gaps": page, "notes": noted, "next": following})


async def count_sessions(context: Context, asked: Asked) -> tuple[SessionCounts, int]:
    """Month after month: no more bars are held than one question reads."""
    instrument, view = asked.instrument, asked.minutes
    table = await context.minutes.ask(
        lambda: view.snapshot.spans(instrument.symbol, instrument.interval)
    )
    spans = [(np.datetime64(a, "s"), np.datetime64(b, "s")) for a, b in list_spans(table)]
    base = INTERVAL_SECONDS[instrument.interval]
    coverage, bars = Coverage(asked.calendar.sessions, base, spans), 0
    for months in part_months(asked, READ_AT_ONCE):
        for series in await context.minute_cache.take_months(view, instrument, months):
            ends = np.array([asked.start, asked.before], "datetime64[s]")
            first, last = series.timestamps.searchsorted(ends).tolist()
            await context.compute(partial(coverage.add, series.timestamps[first:last]))
            bars += last - first
    return coverage.count(*find_days(asked)), bars


def list_spans(table: pa.Table) -> list[tuple[datetime, datetime]]:
    return list(zip(table["start"].to_pylist(), table["end"].to_pylist(), strict=True))


def find_days(asked: Asked) -> tuple[date, date]:
    """The sessions of the first and the last bar in the range."""
    first = max(asked.start, np.datetime64(asked.instrument.first, "s"))
    ends = np.array([first, asked.before - np.timedelta64(1, "s")], "datetime64[s]")
    if ends[0] > ends[1]:
        return date.max, date.min
    days = asked.calendar.find_days(ends)
    return days[0], days[1]


def describe(asked: Asked) -> dict[str, Any]:
    found = asked.instrument
    return {
        **{"symbol": found.symbol, "interval": found.interval},
        **{"calendar": found.exchange or None, "timezone": tell_clock(asked.calendar)},
        **{"synthetic": found.is_synthetic, "sources": list(found.sources)},
        **{"first": show_instant(found.first), "last": show_instant(found.last)},
    }


def tell_counts(asked: Asked, counts: SessionCounts) -> dict[str, Any]:
    """Null where no calendar is known: then nothing is expected."""
    is_known = bool(len(asked.calendar.sessions))
    minutes = counts.expected, counts.present, counts.no_trade, counts.not_delivered
    sums = [int(each.sum()) if is_known else None for each in minutes]
    names = ("bars_expected", "bars_present", "no_trade", "not_delivered")
    return {
        "sessions_expected": len(counts.days) if is_known else None,
        "sessions_present": int((counts.present > 0).sum()) if is_known else None,
        **dict(zip(names, sums, strict=True)),
        "bars_outside_hours": counts.extended if is_known else None,
    }


def read_notes(asked: Asked) -> pa.Table:
    start, before = (each.astype(datetime) for each in (asked.start, asked.before))
    found = asked.instrument
    if start >= before:
        start = before
    return asked.minutes.snapshot.notes(found.symbol, found.interval, start, before)


async def answer_notes(
    request: Request, context: Context, symbol: str, query: OfInterval
) -> Response:
    """What is suspicious about minutes, by time."""
    asked = await ask_for(context, symbol, query)
    table = await context.minutes.ask(lambda: read_notes(asked))
    rows = [
        {
            "timestamp": show_instant(row["timestamp"]),
            "reason": row["kind"],
            "detail": row["detail"],
        }
        for row in cut_table(context, query, table)
    ]
    return answer_rows(request, context, asked, query, rows)


async def answer_revisions(
    request: Request, context: Context, symbol: str, query: OfInterval
) -> Response:
    """Old values of minutes, by time, each with the span in which it was known."""
    asked = await ask_for(context, symbol, query)
    found, bounds = asked.instrument, (asked.start, max(asked.start, asked.before))
    start, before = (each.astype(datetime) for each in bounds)
    table = await context.minutes.ask(
        lambda: asked.minutes.snapshot.revisions(found.symbol, found.interval, start, before)
    )
    rows = [tell_revision(row) for row in cut_table(context, query, table)]
    return answer_rows(request, context, asked, query, rows)


def tell_revision(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "timestamp": show_instant(row["timestamp"]),
        **{name: row[name] for name in ("open", "high", "low", "close")},
        "volume": divide_volume(row["volume"], row["volume_decimals"] or 0),
        "known_from": show_instant(row["known_at"]),
        "known_to": show_instant(row["known_until"]),
        "source": row["source"],
    }


def cut_table(context: Context, query: OfInterval, table: pa.Table) -> Rows:
    """The rows of a page, and one more if there is one."""
    rows: Rows = table.slice(query.after, context.check_limit(query.limit) + 1).to_pylist()
    return rows


def answer_rows(
    request: Request, context: Context, asked: Asked, query: OfInterval, rows: Rows
) -> Response:
    limit = context.check_limit(query.limit)
    page, following = cut_rows(request, rows, limit, count_on(query.after))
    found = asked.instrument
    told: dict[str, Any] = {"interval": found.interval, "timezone": tell_clock(asked.calendar)}
    told |= {"synthetic": found.is_synthetic}
    head = {"symbol": found.symbol, "count": len(page), "next": following}
    return answer_json({**head, **told, "data": page})
