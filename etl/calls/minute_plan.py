"""Which months of minutes to ask for, in which order, and why. Nothing here asks anybody.

The newest month of all symbols first, then the one before. A month that was asked for after its
end is had, once and for all; the running one is asked for anew after each session. Where a vendor
does not give a month of a symbol, older ones are not asked for: it was not listed yet, or the key
does not reach so far back. An answer without bars is one all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from etl.base.errors import SourceError
from etl.calls.archive import Archive, Entry
from etl.calls.ledger import Ledger
from etl.calls.plan import (
    ReasonedCall,
    describe_failure,
    explain_need,
    find_session,
    sort_by_staleness,
)
from etl.calls.vendor import MINUTES, Call, Vendor, build_call, name_month
from etl.market.exchanges import find_exchange
from etl.settings import Settings

NEW_YORK = ZoneInfo("America/New_York")  # whose months the vendors count
# For so long after its end a month that lacks its last session is asked for again.
LATE = timedelta(days=7)


@dataclass
class MinutePlan:
    """What there is to ask, in order, each with its reason; and what is not to be asked.

    months: newest first. had: months of symbols that need no call. left_out: those before a month
    that the vendor does not give. waiting: until when the vendor may not have the last session.
    """

    months: list[date] = field(default_factory=list)
    calls: list[ReasonedCall] = field(default_factory=list)
    refused: list[tuple[Call, SourceError]] = field(default_factory=list)
    failed: list[tuple[Call, SourceError]] = field(default_factory=list)
    waiting: dict[str, datetime] = field(default_factory=dict)
    had: int = 0
    left_out: int = 0

    def list_calls(self) -> list[Call]:
        return [call for call, _ in self.calls]


def make_minute_plan(
    settings: Settings,
    vendor: Vendor,
    archive: Archive,
    ledger: Ledger,
    now: datetime,
    is_retry: bool = False,
) -> MinutePlan:
    """The plan of the next run; an empty one for a vendor that has no minutes. `now` is aware."""
    plan = MinutePlan()
    if MINUTES not in vendor.datasets:
        return plan
    plan.months = list_months(settings.minutes_since, now)
    symbols = list(settings.symbols or ())
    for place, month in enumerate(plan.months):
        calls = [build_call(vendor, symbol, name_month(month)) for symbol in symbols]
        for call in sort_by_staleness(calls, archive, ledger):
            if not consider(plan, call, settings.exchange, archive, ledger, now, is_retry):
                symbols.remove(call.symbol)
                plan.left_out += len(plan.months) - place - 1
    return plan


def list_months(since: date | None, now: datetime) -> list[date]:
    """First days, the newest first: since a day, or this month and the last."""
    month = now.astimezone(NEW_YORK).date().replace(day=1)
    oldest = (since or month - timedelta(days=1)).replace(day=1)
    months = [month]
    while months[-1] > oldest:
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    return months


def consider(
    plan: MinutePlan,
    call: Call,
    usual: str,
    archive: Archive,
    ledger: Ledger,
    now: datetime,
    is_retry: bool,
) -> bool:
    """Put a month of a symbol where it belongs; False: the vendor does not give it."""
    if refusal := ledger.refusal(call):
        plan.refused.append((call, refusal))
        return False
    if failure := ledger.find_failure(call, now):
        plan.failed.append((call, failure))
        return True
    exchange = find_exchange(call.symbol, usual)
    reason, wait_until = explain_month(call, exchange, archive, ledger, now)
    if not reason:
        plan.had += 1
    elif wait_until and now < wait_until and not is_retry:
        plan.waiting[call.label] = wait_until
    else:
        plan.calls.append((call, describe_failure(ledger, call) or reason))
    return True


def explain_month(
    call: Call, exchange: str | None, archive: Archive, ledger: Ledger, now: datetime
) -> tuple[str, datetime | None]:
    """Why to ask for a month ("" = no need), and before when it is of no use."""
    start, end = find_bounds(call.month or now.date())
    entry = archive.latest.get(call.subject)
    session = find_session(exchange, min(now, end))
    if session and session < start.date():
        return "", None  # none of its sessions is over
    if entry is None:
        return "never fetched", None
    if entry.fetched_at >= end + LATE or (entry.fetched_at >= end and has_all(entry, session)):
        return "", None
    if now >= end > entry.fetched_at:
        return "has not its end", None
    if entry.last_bar is None:
        return explain_emptiness(entry, exchange, session, ledger, now)
    return explain_need(entry, exchange, session, ledger, now)


def has_all(entry: Entry, session: date | None) -> bool:
    """Whether an answer that came after the month's end has its last session, as far as that is
    known; one without bars may yet get some."""
    return entry.last_bar is not None and (session is None or entry.last_bar >= session)


def explain_emptiness(
    entry: Entry, exchange: str | None, session: date | None, ledger: Ledger, now: datetime
) -> tuple[str, datetime | None]:
    """An answer without bars is asked for again after the next session; without a calendar, the
    next day."""
    if session is None:
        is_of_today = ledger.find_day(entry.fetched_at) >= ledger.today(now)
        return "" if is_of_today else "had no bars", None
    closed_then = find_session(exchange, entry.fetched_at)
    return "" if closed_then and closed_then >= session else "had no bars", None


def find_bounds(month: date) -> tuple[datetime, datetime]:
    """The instants at which a month begins and ends (exclusive) in New York; aware."""
    after = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
    start, end = (datetime.combine(day, time(), NEW_YORK) for day in (month.replace(day=1), after))
    return start, end


# Of every 5 calls of a day bars of minutes may take 2, and those of days with their splits and
# dividends 3, as long as the other has something left to ask: what one does not want, it gets.
PARTS, MINUTE_PARTS = 5, 2
# Whoever asked for no minutes for so long is not kept waiting for them.
IN_USE = timedelta(days=7)


def keep_for_days(wanted: int, ledger: Ledger, now: datetime) -> int:
    """How many of today's calls bars of minutes leave to those of days, who want so many."""
    per_day = ledger.limits.per_day
    share = per_day - per_day * MINUTE_PARTS // PARTS
    made = ledger.count_today(now) - ledger.count_minutes_today(now)
    return min(wanted, max(0, share - made))


def keep_for_minutes(
    settings: Settings, vendor: Vendor, archive: Archive, ledger: Ledger, now: datetime
) -> int:
    """How many of today's calls bars of days leave to those of minutes, where any are asked for."""
    per_day, calls = ledger.limits.per_day, ledger.minute_calls
    if not per_day or not calls or calls[-1] < now - IN_USE:
        return 0
    wanted = len(make_minute_plan(settings, vendor, archive, ledger, now).calls)
    return min(wanted, max(0, per_day * MINUTE_PARTS // PARTS - ledger.count_minutes_today(now)))


def tell_months(calls: list[ReasonedCall]) -> Iterator[tuple[str, str, list[str]]]:
    """(month, reason, symbols) of calls, in their order."""
    groups: dict[tuple[str, str], list[str]] = {}
    for call, reason in calls:
        groups.setdefault((f"{call.month:%Y-%m}", reason), []).append(call.symbol)
    for (month, reason), symbols in groups.items():
        yield month, reason, symbols
