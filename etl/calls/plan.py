"""Which calls to make, in which order, and why. Nothing here asks anybody.

A symbol is up to date when its last bar is of the last session that its own exchange has closed,
and was fetched after that. Those never asked come first, then those asked the longest ago,
whatever came of it: so a short budget goes round all symbols in turn, and one that always fails
keeps nobody waiting. Splits and dividends get a share of each day's calls: an answer holds 100
bars, so a symbol that waits a day for them loses none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

from etl.base.errors import SourceError
from etl.calendar_names import UnknownExchange, check_exchange
from etl.calls.archive import Archive, Entry
from etl.calls.ledger import Ledger
from etl.calls.vendor import ACTIONS, DAILY, Call, Vendor, build_call, list_actions
from etl.market.exchanges import find_exchange
from etl.market.sessions import last_closed_session, read_calendar
from etl.settings import Settings

# A vendor that did not have the last session yet is asked again after this part of the time that
# its last bar lay behind: within hours for a late bar, within a week for a delisted symbol.
LAG_SHARE = 24
LONGEST_WAIT = timedelta(days=7)
# Of every ROUND calls of a daily budget these are for splits and dividends, where some are due.
ROUND = 5
ACTION_SLOTS = (2, 4)
# A vendor that lets one choose is asked for the days since the last bar, and for so many before it:
# for what it corrected meanwhile.
OVERLAP = timedelta(days=14)
NEVER = datetime.min.replace(tzinfo=UTC)

ReasonedCall = tuple[Call, str]


@dataclass
class Plan:
    """What there is to ask, in order, each with its reason; and what is not to be asked.

    sessions: of each exchange the last closed session; None: its calendar does not say.
    waiting: symbols whose vendor may not have that session yet. failed: calls that failed today.
    actions_known_at: since when the splits and dividends of a symbol are known; None: never asked.
    kept: of today's calls those that bars of minutes may make.
    """

    sessions: dict[str | None, date | None] = field(default_factory=dict)
    calls: list[ReasonedCall] = field(default_factory=list)
    action_calls: list[ReasonedCall] = field(default_factory=list)
    order: list[ReasonedCall] = field(default_factory=list)
    refused: list[tuple[Call, SourceError]] = field(default_factory=list)
    up_to_date: int = 0
    waiting: dict[str, datetime] = field(default_factory=dict)
    failed: list[tuple[Call, SourceError]] = field(default_factory=list)
    actions_known_at: dict[str, datetime | None] = field(default_factory=dict)
    kept: int = 0

    def count_left(self, ledger: Ledger, now: datetime) -> int | None:
        """Calls that this plan may make today; None: no limit."""
        left = ledger.left(now)
        return None if left is None else max(0, left - self.kept)

    def list_calls(self) -> list[Call]:
        return [call for call, _ in self.order]


def make_plan(
    settings: Settings,
    vendor: Vendor,
    archive: Archive,
    ledger: Ledger,
    now: datetime,
    is_retry: bool = False,
    kept: int = 0,
) -> Plan:
    """The plan of the next run. `now` is aware, in UTC."""
    plan = Plan(kept=kept)
    bars = [build_call(vendor, symbol, DAILY) for symbol in settings.symbols or ()]
    for call in sort_by_staleness(bars, archive, ledger):
        if is_ruled_out(plan, call, ledger, now):
            continue
        exchange = find_exchange(call.symbol, settings.exchange)
        session = plan.sessions.setdefault(exchange, find_session(exchange, now))
        entry = archive.latest.get(call.subject)
        reason, wait_until = explain_need(entry, exchange, session, ledger, now)
        if not reason:
            plan.up_to_date += 1
        elif wait_until and now < wait_until and not is_retry:
            plan.waiting[call.symbol] = wait_until
        else:
            asked = replace(call, since=find_since(entry))
            plan.calls.append((asked, describe_failure(ledger, call) or reason))
    plan.actions_known_at = {s: find_actions_known(s, archive) for s in settings.symbols or ()}
    plan.action_calls = list(list_action_calls(settings, vendor, plan, archive, ledger, now))
    plan.order = put_in_order(plan, archive, ledger, now)
    return plan


def find_since(entry: Entry | None) -> date | None:
    return entry.last_bar - OVERLAP if entry and entry.last_bar else None


def is_ruled_out(plan: Plan, call: Call, ledger: Ledger, now: datetime) -> bool:
    """Note in the plan why a call is not to be made, if so."""
    if refusal := ledger.refusal(call):
        plan.refused.append((call, refusal))
        return True
    if failure := ledger.find_failure(call, now):
        plan.failed.append((call, failure))
        return True
    return False


def describe_failure(ledger: Ledger, call: Call) -> str:
    return "failed when it was last asked" if ledger.has_failed(call) else ""


def sort_by_staleness(calls: list[Call], archive: Archive, ledger: Ledger) -> list[Call]:
    """Never asked first, in the order given; then by when each was last asked."""

    def find_last(call: Call) -> tuple[datetime, int]:
        answered = archive.answered.get(call.subject)
        answered_at = (answered.fetched_at, 0) if answered else (NEVER, 0)
        return ledger.asked.get(call.subject, answered_at)

    return sorted(calls, key=find_last)


def explain_need(
    entry: Entry | None,
    exchange: str | None,
    session: date | None,
    ledger: Ledger,
    now: datetime,
) -> tuple[str, datetime | None]:
    """Why to ask for the bars of a symbol ("" = no need), and before when it is of no use."""
    if entry is None or entry.last_bar is None:
        return "never fetched", None
    has = f"has {entry.last_bar}"
    closed_then = find_session(exchange, entry.fetched_at)
    if session is None or closed_then is None:
        # nobody can say whether there is a newer session: worth a call a day
        is_of_today = ledger.find_day(entry.fetched_at) >= ledger.today(now)
        return "" if is_of_today else f"{has}; sessions not known", None
    # a bar of a session that was open when it was fetched is not final
    if min(entry.last_bar, closed_then) >= session:
        return "", None
    if entry.last_bar >= closed_then:
        return has, None
    behind = entry.fetched_at - datetime.combine(entry.last_bar, time(), UTC)
    return has, entry.fetched_at + min(LONGEST_WAIT, behind / LAG_SHARE)


def find_session(exchange: str | None, now: datetime) -> date | None:
    """The last session that the exchange has closed; None where its calendar does not say.

    It does not for an exchange that is not known, and after the last day that it records.
    """
    if exchange is None:
        return None
    try:
        last_known = read_calendar(check_exchange(exchange)).sessions[-1]
        return last_closed_session(exchange, now) if now.date() <= last_known else None
    except UnknownExchange:
        raise
    except ValueError:  # a calendar that cannot be built, or that begins later
        return None


def list_action_calls(
    settings: Settings,
    vendor: Vendor,
    plan: Plan,
    archive: Archive,
    ledger: Ledger,
    now: datetime,
) -> Iterator[ReasonedCall]:
    """Splits and dividends that were not asked for a month, the longest ago first.

    Only of symbols that have bars, or are about to get some.
    """
    if not settings.corporate_actions_days:
        return
    since = now - timedelta(days=settings.corporate_actions_days)
    coming = {call.symbol for call, _ in plan.calls}
    calls = [
        build_call(vendor, symbol, dataset)
        for dataset in list_actions(vendor)
        for symbol in settings.symbols or ()
        if symbol in coming or (symbol, DAILY) in archive.latest
    ]
    for call in sort_by_staleness(calls, archive, ledger):
        entry = archive.answered.get(call.subject)
        is_due = entry is None or entry.fetched_at <= since or ledger.has_failed(call)
        if is_due and not is_ruled_out(plan, call, ledger, now):
            asked = f"asked {entry.fetched_at:%Y-%m-%d}" if entry else "never asked"
            yield call, describe_failure(ledger, call) or asked


def find_actions_known(symbol: str, archive: Archive) -> datetime | None:
    """The instant of the older of the last answers about splits and about dividends."""
    entries = [archive.latest.get((symbol, dataset)) for dataset in ACTIONS]
    instants = [entry.fetched_at for entry in entries if entry]
    return min(instants) if len(instants) == len(ACTIONS) else None


def put_in_order(plan: Plan, archive: Archive, ledger: Ledger, now: datetime) -> list[ReasonedCall]:
    """Bars, then actions; where a day's calls do not suffice for both, actions get their share.

    The slots are counted over days, so that a budget of one call a day has its share too.
    """
    left, per_day = plan.count_left(ledger, now), ledger.limits.per_day
    ready = [item for item in plan.action_calls if (item[0].symbol, DAILY) in archive.latest]
    first = ledger.today(now).toordinal() * per_day + ledger.count_today(now)
    shared = sum(is_action_slot(first + slot) for slot in range(left or 0))
    if not per_day or len(plan.calls) + min(shared, len(ready)) <= (left or 0):
        return [*plan.calls, *plan.action_calls]
    bars, actions = iter(plan.calls), iter(ready)
    order: list[ReasonedCall] = []
    while item := next(*((actions, None) if is_action_slot(first + len(order)) else (bars, None))):
        order.append(item)
    taken = {call for call, _ in order}
    return order + [i for i in (*plan.calls, *plan.action_calls) if i[0] not in taken]


def is_action_slot(number: int) -> bool:
    return number % ROUND in ACTION_SLOTS
