"""What an Alpaca answer means: bars, corporate actions, the next page, or a typed error. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from etl.base.errors import Malformed, UnknownSymbol
from etl.calls.vendor import DAILY, DIVIDENDS, SPLITS, Call, Reply, Row
from etl.sources.answers import (
    Answer,
    Remedies,
    check_answer,
    divide,
    find_last,
    find_last_minute,
    is_bar,
    read_bar,
    read_minute,
    sum_by_day,
    text,
)

# Dataset → the types to ask for, and the lists that the answer has of them.
TYPES = {SPLITS: "forward_split,reverse_split", DIVIDENDS: "cash_dividend"}
LISTS = {SPLITS: ("forward_splits", "reverse_splits"), DIVIDENDS: ("cash_dividends",)}
GET_A_KEY = (
    "a free key is made at https://app.alpaca.markets; put both parts in .env, as ALPACA_KEY_ID and"
    " ALPACA_SECRET_KEY"
)
REMEDIES = Remedies(
    GET_A_KEY,
    "lower ALPACA_CALLS_PER_MINUTE, and let no other program use the key",
    "the key's plan does not hold it: ALPACA_FEED=iex is in every plan (one exchange's bars alone)",
    "ALPACA_BASE_URL",
)


def read_answer(call: Call, status: int, body: bytes) -> Reply:
    def has_data(answer: Answer) -> bool:
        is_of_bars = call.dataset == DAILY or call.month
        return is_bars(answer) if is_of_bars else is_actions(answer, call.dataset)

    answer = check_answer(status, body, call.symbol, REMEDIES, has_data)
    page = text(answer.get("next_page_token")) or ""
    if call.month:
        rows = [read_minute(bar, call.symbol, read_instant) for bar in find_bars(answer, call)]
        return Reply(rows, find_last_minute(rows), page)
    if call.dataset != DAILY:
        return Reply(read_actions(answer, call.symbol, call.dataset), None, page)
    rows = read_bars(answer, call)
    return Reply(rows, find_last(rows), page)


def is_bars(answer: Answer) -> bool:
    bars = answer.get("bars", False)
    if bars is None:  # the vendor's way to say that there are none
        return "next_page_token" in answer
    lists = bars.values() if isinstance(bars, dict) else [None]
    return all(isinstance(some, list) and all(map(is_bar, some)) for some in lists)


def is_actions(answer: Answer, dataset: str) -> bool:
    found = answer.get("corporate_actions")
    lists = [found.get(name, []) for name in LISTS[dataset]] if isinstance(found, dict) else [None]
    return all(isinstance(some, list) and all(isinstance(a, dict) for a in some) for some in lists)


def find_bars(answer: Answer, call: Call) -> list[Any]:
    by_symbol: dict[str, list[Any]] = answer["bars"] or {}
    others = [name for name, bars in by_symbol.items() if bars and name != call.symbol]
    if others:
        raise Malformed(f"{call.symbol}: the vendor sent the data of {others[0][:40]!r}")
    return by_symbol.get(call.symbol, [])


def read_bars(answer: Answer, call: Call) -> list[Row]:
    """The bars of the symbol. UnknownSymbol where the whole answer has none."""
    bars = find_bars(answer, call)
    if not bars and call.number == 1 and not answer.get("next_page_token"):
        raise UnknownSymbol(f"{call.symbol}: the vendor has no bars of it: check its spelling")
    return [read_bar(bar, call.symbol, read_instant) for bar in bars]


def read_instant(written: str | None) -> datetime | None:
    """RFC 3339; None where it is none, or has no zone."""
    try:
        at = datetime.fromisoformat(written or "")
    except ValueError:
        return None
    return at if at.tzinfo else None


def read_actions(answer: Answer, symbol: str, dataset: str) -> list[Row]:
    lists = answer["corporate_actions"]
    items = [item for name in LISTS[dataset] for item in lists.get(name, [])]
    if other := next((i for i in items if text(i.get("symbol")) not in (None, symbol)), None):
        raise Malformed(f"{symbol}: the vendor sent the data of {text(other['symbol'])!r:.40}")
    return list(read_splits(items, symbol) if dataset == SPLITS else read_dividends(items, symbol))


def read_splits(items: list[Answer], symbol: str) -> Iterator[Row]:
    for item in items:
        value = divide(item.get("new_rate"), item.get("old_rate"))
        about: Row = {"symbol": symbol, "ex_date": text(item.get("ex_date"))}
        yield {**about, "kind": "split", "value": value}


def read_dividends(items: list[Answer], symbol: str) -> list[Row]:
    return sum_by_day(
        {
            "symbol": symbol,
            "ex_date": text(item.get("ex_date")),
            "kind": "dividend",
            "value": text(item.get("rate")),
        }
        for item in items
    )


def find_data(answer: Any) -> Any:
    """What a redaction may not touch."""
    return [answer.get(k) for k in ("bars", "corporate_actions")] if isinstance(answer, dict) else 0
