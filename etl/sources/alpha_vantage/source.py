"""Alpha Vantage: daily bars as traded, splits and dividends; newest first, numbers as strings.

The rule it keeps: an answer is paid for, and a free key never gives old bars back. So each one is
archived before it is read, and the rows handed on are those of the archive that the store has not
taken yet: of this run, and of any before it (see marks).
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from etl.base.errors import (
    Forbidden,
    InputError,
    InvalidKey,
    Malformed,
    NotAsked,
    PremiumOnly,
    SourceError,
)
from etl.calls.archive import MALFORMED, Archive, Entry, read_body
from etl.calls.budget import BARS, Budget, Call, Limits
from etl.calls.dispatch import Dispatcher, Patience
from etl.calls.download import Downloader
from etl.calls.forecast import describe_budget
from etl.calls.pace import Pace
from etl.calls.plan import make_plan
from etl.contracts.deliveries import Delivery
from etl.settings import Settings, SettingsError
from etl.sources import Order, build_actions, build_bars
from etl.sources.alpha_vantage.answers import (
    GET_A_KEY,
    check_answer,
    describe_content,
    parse_actions,
    parse_bars,
    redact_body,
)
from etl.store.marks import Marks, mark, read_marks

log = logging.getLogger("etl")
VENDOR = "alpha_vantage"


class AlphaVantage:
    def __init__(self, settings: Settings, order: Order, patience: Patience | None = None) -> None:
        self.settings = settings
        self.order = order
        self.clock = order.clock
        self.patience = patience
        self.archive = Archive(settings.archive_dir)
        self.budget = open_budget(settings, order)
        self.pending = find_pending(settings, self.archive)
        self.plan = make_plan(settings, self.archive, self.budget, self.clock.now(), order.is_retry)
        self.count = len(self.pending) + len(self.plan.list_calls())
        self.notes: dict[str, Any] = {
            "up_to_date": self.plan.up_to_date,
            "waiting": len(self.plan.waiting),
            "calls": 0,
            "answers": 0,
            "actions_not_asked": 0,
        }
        self.without_bars: set[str] = set()  # symbols that got none, and had none
        self.said: set[tuple[str, str]] = set()  # kinds of refusal, and what they are about
        self.downloader = Downloader(
            settings.av_base_url, settings.http_timeout, settings.max_payload_mb * 2**20
        )

    def fetch(self) -> Iterator[Delivery]:
        """What is pending in the archive; then each answer, as it comes."""
        log.info("extract: %s", describe_budget(self.settings, self.budget, self.clock.now()))
        self.archive.sweep()
        has_bars, riders = False, set()
        for delivery in self.deliver_all():
            if delivery.bars is not None:
                has_bars = True
            elif delivery.actions is not None and delivery.actions.num_rows:
                riders.add(delivery.label)
            yield delivery
        if not has_bars:
            # no raw file is without bars: actions that come alone bring their symbol's last ones
            for symbol in sorted(riders):
                if entry := self.archive.latest.get((symbol, BARS)):
                    yield read_entry(entry)

    def deliver_all(self) -> Iterator[Delivery]:
        for entry in self.pending:
            yield read_entry(entry)
        for call, error in (*self.plan.refused, *self.plan.failed):
            yield from self.tell_failure(call, error)
        yield from self.ask_all()

    def ask_all(self) -> Iterator[Delivery]:
        pace = open_pace(self.settings, self.budget, self.clock)
        dispatcher = Dispatcher(
            self.ask, self.budget, pace, self.clock, self.patience, self.find_refusal
        )
        try:
            for call, result in dispatcher.run(self.plan.list_calls()):
                self.note_progress()
                if isinstance(result, Delivery):
                    self.notes["answers"] += 1
                    yield result
                else:
                    yield from self.tell_failure(call, result)
        finally:
            self.note_progress()  # a run that is stopped has made its calls too

    def note_progress(self) -> None:
        self.notes["calls"] = self.budget.made
        self.notes["calls_left"] = self.budget.left_today(self.clock.now())

    def find_refusal(self, call: Call) -> SourceError | None:
        """What rules out a call that was planned: a symbol that got no bars needs no actions."""
        if call.function != BARS and call.symbol in self.without_bars:
            return NotAsked(f"{call.label}: {call.symbol} has no bars")
        return self.budget.find_refusal(call)

    def tell_failure(self, call: Call, error: SourceError) -> Iterator[Delivery]:
        """The failure of one call; what an answer says of a key it says of all symbols, once."""
        is_bars = call.function == BARS
        if is_bars and call.subject not in self.archive.latest:
            self.without_bars.add(call.symbol)
        if isinstance(error, NotAsked) and not is_bars:
            self.notes["actions_not_asked"] += 1
            return
        if isinstance(error, PremiumOnly | InvalidKey) and not isinstance(error, Forbidden):
            about = (error.kind, "" if error.ends_run else call.plan)
            if about in self.said:
                if is_bars:
                    yield Delivery(call.label, error=NotAsked(f"{error.kind} before it"))
                return
            self.said.add(about)
        yield Delivery(call.label, error=error, is_extra=not is_bars)

    def ask(self, call: Call, note_sent: Callable[[], None]) -> Delivery:
        """Make one call and archive its answer. Runs in a thread of its own."""
        key, body, retry_after = self.settings.av_api_key, b"", None
        try:
            query = {**build_query(call, self.settings), "apikey": key}
            answer = self.downloader.get(query, note_sent)
            fetched_at = self.clock.now()
            retry_after = answer.retry_after
            body = redact_body(answer.body, key)
            parsed = check_answer(answer.status, body, call.symbol, call.function, key)
        except Malformed:
            # paid for, and perhaps read by a later version
            self.archive.add(call.symbol, call.function, MALFORMED, body, self.clock.now())
            raise
        except SourceError as error:
            error.retry_after = retry_after
            raise
        content = describe_content(parsed, call.function)
        entry = self.archive.add(call.symbol, call.function, content, body, fetched_at)
        return build_delivery(entry, parsed)


class Replay:
    """Everything in the archive, without a call: the way back to raw data."""

    def __init__(self, settings: Settings, order: Order) -> None:
        self.archive = Archive(settings.archive_dir)
        self.symbols = order.symbols
        self.count = len(list_missing(self.archive, set()))
        self.notes: dict[str, Any] = {}

    def fetch(self) -> Iterator[Delivery]:
        for entry in self.archive.list_entries():
            if self.symbols is None or entry.symbol in self.symbols:
                delivery = read_entry(entry)
                if entry.has_data or not delivery.error:
                    yield delivery


def open_alpha_vantage(settings: Settings, order: Order) -> AlphaVantage | Replay:
    if order.is_replay:
        return Replay(settings, order)
    if not settings.av_api_key:
        raise SettingsError(f"SOURCE=alpha_vantage wants AV_API_KEY: {GET_A_KEY}")
    return AlphaVantage(settings, order)


def open_budget(settings: Settings, order: Order) -> Budget:
    limits = Limits(settings.av_calls_per_day, settings.av_day_zone)
    return Budget(settings.ledger_path, limits, settings.av_api_key, order.is_retry)


def open_pace(settings: Settings, budget: Budget, clock: Any) -> Pace:
    """The pace, with the last minute's calls of earlier runs in it."""
    now = clock.monotonic()
    recent = (now - age for age in budget.list_recent(clock.now(), 60))
    return Pace(settings.av_calls_per_second, settings.av_calls_per_minute, recent)


def build_query(call: Call, settings: Settings) -> dict[str, str]:
    query = {"function": call.function, "symbol": call.symbol}
    return {**query, "outputsize": settings.av_outputsize} if call.function == BARS else query


def find_pending(settings: Settings, archive: Archive) -> list[Entry]:
    """The answers that the store has not taken."""
    return list_missing(archive, read_marks(settings.database_path, VENDOR))


def list_missing(archive: Archive, taken: Marks) -> list[Entry]:
    entries = archive.list_entries()
    return [entry for entry in entries if entry.has_data and mark(entry) not in taken]


def read_entry(entry: Entry) -> Delivery:
    """One archived answer, read again as on its first day; a damaged one is an error."""
    try:
        answer = check_answer(200, read_body(entry), entry.symbol, entry.function)
        return build_delivery(entry, answer)
    except InputError as error:
        return Delivery(entry.symbol, error=Malformed(str(error)))
    except SourceError as error:
        return Delivery(entry.symbol, error=error)


def build_delivery(entry: Entry, answer: Any) -> Delivery:
    symbol, function = entry.symbol, entry.function
    number, at = mark(entry)
    about: list[dict[str, str | None]] = [
        {"symbol": symbol, "ex_date": None, "kind": "answer", "value": str(number)}
    ]
    if function == BARS:
        bars = build_bars(parse_bars(answer, symbol), VENDOR, "raw", at)
        return Delivery(symbol, bars, build_actions(about, VENDOR, at))
    # the answer lists all of them, so that an empty one says that there are none
    about.append({**about[0], "kind": function.lower(), "value": None})
    actions = [*about, *parse_actions(answer, symbol, function)]
    return Delivery(symbol, actions=build_actions(actions, VENDOR, at))
