"""What a Massive answer means: bars, corporate actions, the next page, or a typed error. Pure."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from etl.base.errors import Malformed, UnknownSymbol
from etl.calls.vendor import DAILY, SPLITS, Call, Reply, Row
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

GOOD = ("OK", "DELAYED")
PAGES = re.compile(r"/v2/aggs/ticker/|/v3/reference/(splits|dividends)")
GET_A_KEY = "a free key is given at https://massive.com; put it in .env as MASSIVE_API_KEY"
REMEDIES = Remedies(
    GET_A_KEY,
    "lower MASSIVE_CALLS_PER_MINUTE, and let no other program use the key",
    "the key's plan does not hold it: START_DATE, MINUTES_SINCE ask for fewer years (2 are free)",
    "MASSIVE_BASE_URL",
)


def read_answer(call: Call, status: int, body: bytes) -> Reply:
    def has_data(answer: Answer) -> bool:
        return is_results(answer, call)

    answer = check_answer(status, body, call.symbol, REMEDIES, has_data)
    page = find_page(call, answer)
    items = answer.get("results") or []
    if call.month:
        check_bars(answer, call, True)
        rows = [read_minute(bar, call.symbol, read_instant) for bar in items]
        return Reply(rows, find_last_minute(rows), page)
    if call.dataset != DAILY:
        return Reply(read_actions(items, call), None, page)
    check_bars(answer, call, bool(items or page))
    rows = [read_bar(bar, call.symbol, read_instant) for bar in items]
    return Reply(rows, find_last(rows), page)


def is_results(answer: Answer, call: Call) -> bool:
    """A list, be it of nothing; of an unknown ticker the answer has none at all."""
    items = answer.get("results", [])
    if answer.get("status") not in GOOD or not isinstance(items, list | None):
        return False
    if call.dataset != DAILY and not call.month:
        return items is not None and all(isinstance(item, dict) for item in items)
    is_counted = "results" in answer or "resultsCount" in answer or "queryCount" in answer
    return is_counted and all(map(is_bar, items or []))


def check_bars(answer: Answer, call: Call, has_bars: bool) -> None:
    """Malformed where the bars are another symbol's, or adjusted though they were asked as traded;
    UnknownSymbol where there are none."""
    named = text(answer.get("ticker"))
    if named and named != call.symbol:
        raise Malformed(f"{call.symbol}: the vendor sent the data of {named[:40]!r}")
    if answer.get("adjusted") is True:
        raise Malformed(f"{call.symbol}: the vendor sent adjusted prices, not those asked for")
    if not has_bars and call.number == 1:
        raise UnknownSymbol(f"{call.symbol}: the vendor has no bars of it: check its spelling")


def find_page(call: Call, answer: Answer) -> str:
    """Path and query of the next page, without the host: a key goes to no other one."""
    url = answer.get("next_url")
    if not url:
        return ""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        parts = urlsplit("")
    if not (match := PAGES.search(parts.path)):
        raise Malformed(f"{call.symbol}: the next page of the answer is no page of this vendor")
    query = [(k, v) for k, v in parse_qsl(parts.query) if k.lower() != "apikey"]
    return f"{parts.path[match.start() :]}?{urlencode(query)}"


def read_instant(written: str | None) -> datetime | None:
    """Milliseconds since 1970; None where it is none."""
    try:
        return datetime.fromtimestamp(int(written or "") / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def read_actions(items: list[Answer], call: Call) -> list[Row]:
    if other := next((i for i in items if text(i.get("ticker")) not in (None, call.symbol)), None):
        raise Malformed(f"{call.symbol}: the vendor sent the data of {text(other['ticker'])!r:.40}")
    if call.dataset == SPLITS:
        return [read_split(item, call.symbol) for item in items]
    return sum_by_day(read_dividend(item, call.symbol) for item in items)


def read_split(item: Answer, symbol: str) -> Row:
    day, value = (
        text(item.get("execution_date")),
        divide(item.get("split_to"), item.get("split_from")),
    )
    return {"symbol": symbol, "ex_date": day, "kind": "split", "value": value}


def read_dividend(item: Answer, symbol: str) -> Row:
    day, value = text(item.get("ex_dividend_date")), text(item.get("cash_amount"))
    return {"symbol": symbol, "ex_date": day, "kind": "dividend", "value": value}


def find_data(answer: Any) -> Any:
    """What a redaction may not touch."""
    return answer.get("results") if isinstance(answer, dict) else None
