"""Which calls to make, in which order, and why. Nothing here asks anybody.

A symbol is up to date when its last bar is of the last closed session, and was fetched after
that session had closed. Those never fetched come first, then the stalest: so a short budget goes
round all symbols in turn. Splits and dividends come last, out of what is left.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

from etl.archive import Archive, Entry
from etl.budget import BARS, Budget, Call
from etl.errors import SourceError
from etl.sessions import last_closed_session
from etl.settings import Settings

ACTIONS = ("SPLITS", "DIVIDENDS")
# A vendor that did not have the last session yet is asked again after this part of the time that
# its last bar lay behind: within hours for a late bar, within a week for a delisted symbol.
LAG_SHARE = 24
LONGEST_WAIT = timedelta(days=7)


@dataclass
class Plan:
    """What there is to ask, in order, each with its reason; and what is not to be asked."""

    session: date
    calls: list[tuple[Call, str]] = field(default_factory=list)
    action_calls: list[tuple[Call, str]] = field(default_factory=list)
    refused: list[tuple[Call, SourceError]] = field(default_factory=list)
    up_to_date: int = 0
    waiting: dict[str, datetime] = field(default_factory=dict)

    def list_calls(self) -> list[Call]:
        return [call for call, _ in (*self.calls, *self.action_calls)]


def make_plan(
    settings: Settings, archive: Archive, budget: Budget, now: datetime, is_retry: bool = False
) -> Plan:
    """The plan of the next run. `now` is aware, in UTC."""
    plan = Plan(last_closed_session(settings.exchange, now))
    for symbol in sort_by_staleness(settings.symbols or (), archive):
        call = Call(symbol, BARS, f"{BARS} {settings.av_outputsize}")
        if refusal := budget.find_refusal(call):
            plan.refused.append((call, refusal))
            continue
        reason, wait_until = judge(archive.latest.get((symbol, BARS)), plan.session, settings)
        if not reason:
            plan.up_to_date += 1
        elif wait_until and now < wait_until and not is_retry:
            plan.waiting[symbol] = wait_until
        else:
            plan.calls.append((call, reason))
    plan.action_calls = list(list_action_calls(settings, archive, budget, now))
    return plan


def sort_by_staleness(symbols: tuple[str, ...], archive: Archive) -> list[str]:
    """Never answered first, in the order given; then by the age of the last answer."""

    def number(symbol: str) -> int:
        answered = archive.answered.get((symbol, BARS))
        return answered.number if answered else 0

    return sorted(symbols, key=number)


def judge(entry: Entry | None, session: date, settings: Settings) -> tuple[str, datetime | None]:
    """Why to ask for the bars of a symbol ("" = no need), and before when it is of no use."""
    if entry is None or entry.last_bar is None:
        return "never fetched", None
    closed_then = find_session(settings.exchange, entry.fetched_at.replace(second=0, microsecond=0))
    # a bar of a session that was open when it was fetched is not final
    if min(entry.last_bar, closed_then) >= session:
        return "", None
    reason = f"has {entry.last_bar}, fetched {entry.fetched_at:%Y-%m-%d %H:%M}"
    if entry.last_bar >= closed_then:
        return reason, None
    behind = entry.fetched_at - datetime.combine(entry.last_bar, time(), UTC)
    return reason, entry.fetched_at + min(LONGEST_WAIT, behind / LAG_SHARE)


@cache
def find_session(exchange: str, minute: datetime) -> date:
    """last_closed_session, once a minute: sessions close on whole minutes."""
    return last_closed_session(exchange, minute)


def list_action_calls(
    settings: Settings, archive: Archive, budget: Budget, now: datetime
) -> Iterator[tuple[Call, str]]:
    """Splits and dividends that were not asked for a month, the longest ago first."""
    if not settings.corporate_actions_days:
        return
    since = now - timedelta(days=settings.corporate_actions_days)
    due = []
    for function in ACTIONS:
        for symbol in settings.symbols or ():
            entry = archive.answered.get((symbol, function))
            call = Call(symbol, function, function)
            if (entry is None or entry.fetched_at <= since) and not budget.find_refusal(call):
                reason = f"asked {entry.fetched_at:%Y-%m-%d}" if entry else "never asked"
                due.append((entry.number if entry else 0, call, reason))
    for _, call, reason in sorted(due, key=lambda item: item[0]):
        yield call, reason


SHOWN = 100


def describe_plan(settings: Settings, plan: Plan, budget: Budget, now: datetime) -> Iterator[str]:
    """The plan in lines: what the next run asks, why, and when all are up to date."""
    waiting, refused = len(plan.waiting), len(plan.refused)
    yield (
        f"{len(settings.symbols or ())} symbols; last closed session {plan.session}"
        f" ({settings.exchange}): {plan.up_to_date} have it, {len(plan.calls)} are to ask,"
        f" {waiting} wait for the vendor to have it, {refused} were refused"
    )
    yield describe_budget(settings, budget, now)
    left = budget.left_today(now)
    asked = [*plan.calls, *plan.action_calls][:left]
    yield f"the next run asks {len(asked)}:" if asked else "the next run asks nothing"
    for call, reason in asked[:SHOWN]:
        yield f"  {call.symbol:<8} {call.function:<18} {reason}"
    if len(asked) > SHOWN:
        yield f"  … and {len(asked) - SHOWN} more"
    yield forecast(settings, plan, budget, now)
    if plan.action_calls:
        count = len(plan.action_calls)
        yield f"{count} calls for splits and dividends are due, when calls are left over"
    for _, error in plan.refused[:SHOWN]:
        yield f"refused: {error.kind}: {error}"


def describe_budget(settings: Settings, budget: Budget, now: datetime) -> str:
    day = f"{budget.today(now)} ({settings.av_day_zone})"
    made, left = budget.count_today(now), budget.left_today(now)
    if left == 0:
        return f"calls: {made} made on {day}; {budget.explain(now)}"
    of = f"of {settings.av_calls_per_day} " if settings.av_calls_per_day else ""
    return f"calls: {made} {of}made on {day}" + (f"; {left} left" if left is not None else "")


def forecast(settings: Settings, plan: Plan, budget: Budget, now: datetime) -> str:
    """When every symbol that may be asked has the last closed session of today."""
    count, left, per_day = len(plan.calls), budget.left_today(now), settings.av_calls_per_day
    if not count:
        return "all are up to date" if plan.up_to_date else "nothing can be asked"
    if left is None or count <= left:
        return "all are up to date after the next run"
    if not per_day:
        return "all are up to date after a run tomorrow"
    days = -(-(count - left) // per_day) + (1 if left else 0)
    last = budget.today(now) + timedelta(days=-(-(count - left) // per_day))
    return (
        f"all are up to date with {plan.session} in {days} day{'s' * (days > 1)} of runs"
        f" (on {last}), at {per_day} calls a day"
    )
