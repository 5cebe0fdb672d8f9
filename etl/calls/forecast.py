"""The plan in words: what the next run asks, why, and when all are up to date. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from etl.calls.ledger import Ledger
from etl.calls.minute_plan import MinutePlan, tell_months
from etl.calls.plan import ACTION_SLOTS, ROUND, Plan, ReasonedCall
from etl.calls.vendor import DAILY
from etl.settings import Settings

NAMED = 10  # symbols of one group that are named
LISTED = 20  # lines of one kind


def describe_plan(settings: Settings, plan: Plan, ledger: Ledger, now: datetime) -> Iterator[str]:
    """The plan in lines."""
    to_ask, waiting = len(plan.calls), len(plan.waiting)
    refused = sum(call.dataset == DAILY for call, _ in plan.refused)
    yield (
        f"{tell(len(settings.symbols or ()), 'symbol')}; last closed session"
        f" {describe_sessions(plan)}:"
        f" {plan.up_to_date} {'has' if plan.up_to_date == 1 else 'have'} it,"
        f" {to_ask} {be(to_ask)} to ask,"
        f" {waiting} {'waits' if waiting == 1 else 'wait'} for the vendor to have it,"
        f" {refused} {'was' if refused == 1 else 'were'} refused"
    )
    yield describe_budget(ledger, now)
    if plan.kept:
        yield f"{tell(plan.kept, 'call')} of today {be(plan.kept)} kept for bars of minutes"
    yield from describe_calls(plan.order[: plan.count_left(ledger, now)])
    yield forecast(plan, ledger, now)
    yield describe_actions(settings, plan)
    if due := len(plan.action_calls):
        left = plan.count_left(ledger, now)
        is_short = left is not None and len(plan.order) > left
        share = f": of such a day's calls they get {len(ACTION_SLOTS)} in {ROUND}" * is_short
        yield f"{tell(due, 'call')} for splits and dividends {be(due)} due{share}"
    yield from describe_ruled_out(plan)


def tell(count: int, noun: str) -> str:
    """1 call, 2 calls."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def be(count: int) -> str:
    return "is" if count == 1 else "are"


def describe_sessions(plan: Plan) -> str:
    """2026-11-20 (XNYS), 2026-11-19 (XTKS), not known (XSHG)."""
    told = [
        f"{session or 'not known'} ({exchange or 'no calendar'})"
        for exchange, session in plan.sessions.items()
    ]
    return ", ".join(told) or "not known"


def describe_budget(ledger: Ledger, now: datetime) -> str:
    day = f"{ledger.today(now)} ({ledger.limits.zone})"
    made, left = ledger.count_today(now), ledger.left(now)
    if left == 0:
        return f"calls: {made} made on {day}; {ledger.explain(now)}"
    of = f"of {ledger.limits.per_day} " if ledger.limits.per_day else ""
    return f"calls: {made} {of}made on {day}" + (f"; {left} left" if left is not None else "")


def describe_calls(asked: list[ReasonedCall]) -> Iterator[str]:
    """The calls of the next run, in groups of one kind and reason, in their order."""
    if not asked:
        yield "the next run asks nothing"
        return
    bars = sum(call.dataset == DAILY for call, _ in asked)
    parts = [(bars, "bar"), (len(asked) - bars, "action")]
    kinds = ", ".join(tell(count, noun) for count, noun in parts if count)
    yield f"the next run asks {len(asked):,}: {kinds}"
    groups: dict[tuple[str, str], list[str]] = {}
    for call, reason in asked:
        kind = "bars" if call.dataset == DAILY else call.dataset
        groups.setdefault((kind, reason), []).append(call.symbol)
    for (kind, reason), symbols in list(groups.items())[:LISTED]:
        yield f"  {kind:<9} {reason}: {name_some(symbols)}"
    if len(groups) > LISTED:
        yield f"  … and {len(groups) - LISTED} more groups"


def name_some(symbols: list[str]) -> str:
    more = len(symbols) - NAMED
    return ", ".join(symbols[:NAMED]) + (f" and {more} more" if more > 0 else "")


def describe_actions(settings: Settings, plan: Plan) -> str:
    """Since when splits and dividends are known, and of which symbols they are not."""
    known = [at for at in plan.actions_known_at.values() if at]
    never = [symbol for symbol, at in plan.actions_known_at.items() if not at]
    of = tell(len(plan.actions_known_at), "symbol")
    said = f"splits and dividends: known of {len(known):,} of {of}"
    since = f" (all asked on {min(known):%Y-%m-%d} or later)" if known else ""
    rest = f"; never asked: {name_some(never)}" if never else ""
    off = "" if settings.corporate_actions_days else "; CORPORATE_ACTIONS_DAYS=0 asks for none"
    return said + since + rest + off


def describe_ruled_out(plan: Plan) -> Iterator[str]:
    """What is not asked because of an earlier answer; what is true of a key is said once."""
    lines: dict[tuple[str, str, str], str] = {}
    for call, error in plan.refused:
        lines.setdefault((error.kind, str(error).partition(": ")[2], call.dataset), str(error))
    told = [f"refused: {key[0]}: {line}" for key, line in lines.items()]
    told += [f"failed: {error.kind}: {error}" for _, error in plan.failed]
    yield from told[:LISTED]
    if len(told) > LISTED:
        yield f"… and {len(told) - LISTED} more"


def forecast(plan: Plan, ledger: Ledger, now: datetime) -> str:
    """When every symbol that may be asked has the last closed session of today."""
    left, per_day = plan.count_left(ledger, now), ledger.limits.per_day
    who = name_all(plan, ledger)
    # actions take their share of the calls before the last bar
    places = [place for place, (call, _) in enumerate(plan.order, 1) if call.dataset == DAILY]
    if not places:
        return f"{who} are up to date" if plan.up_to_date else "nothing can be asked"
    if left is None or places[-1] <= left:
        return f"{who} are up to date after the next run"
    if not per_day:
        return f"{who} are up to date after a run tomorrow"
    more = -(-(places[-1] - left) // per_day)
    days = more + (1 if left else 0)
    last = ledger.today(now) + timedelta(days=more)
    newest = max((str(s) for s in plan.sessions.values() if s), default="the last session")
    return (
        f"{who} are up to date with {newest} in {tell(days, 'day')} of runs (on {last}), at"
        f" {tell(per_day, 'call')} a day"
    )


def name_all(plan: Plan, ledger: Ledger) -> str:
    """Whom the forecast is about: nobody can say when a symbol that fails will be answered."""
    failing = [call.symbol for call, _ in plan.failed if call.dataset == DAILY]
    failing += [call.symbol for call, _ in plan.calls if ledger.has_failed(call)]
    if not failing:
        return "all"
    return f"all but {name_some(failing)}, which failed when last asked,"


def describe_minutes(plan: MinutePlan, kept: int, ledger: Ledger, now: datetime) -> Iterator[str]:
    """What the next run of `make minutes` asks; kept: of today's calls those of bars of days."""
    if not plan.months:
        return
    span = f"{plan.months[-1]:%Y-%m} to {plan.months[0]:%Y-%m}"
    out = f", {plan.left_out} before what the vendor gives" * bool(plan.left_out)
    waiting = len(plan.waiting)
    yield (
        f"minutes of {span}, in months of symbols: {plan.had:,} had, {len(plan.calls):,} to ask,"
        f" {waiting:,} {'waits' if waiting == 1 else 'wait'}, {len(plan.refused):,} refused{out}"
    )
    left = ledger.left(now)
    if kept and left is not None and len(plan.calls) > left - kept:
        yield f"minutes: {tell(kept, 'call')} of today {be(kept)} kept for bars of days"
    asked = plan.calls[: None if left is None else max(0, left - kept)]
    yield (
        f"the next run of make minutes asks {len(asked):,}" if asked else "minutes: nothing to ask"
    )
    for month, reason, symbols in list(tell_months(asked))[:LISTED]:
        yield f"  {month:<9} {reason}: {name_some(symbols)}"
