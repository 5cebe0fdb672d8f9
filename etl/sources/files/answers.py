"""Answers of vendors saved to disk, and other JSON: rows of text with a header. Pure.

Numbers stay the text that they came as. Known by name are Yahoo's chart and Alpha Vantage's
series; else any list of bars that lies in the answer is found by its shape.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from etl.base.errors import Malformed
from etl.contracts.files import PRICES
from etl.sources.alpha_vantage.answers import read_field
from etl.sources.alpha_vantage.minutes import tell_stamp
from etl.sources.files.headers import IS_DATE, Row, find_single, match_names, normalize

DEEPEST = 6
SYMBOL_KEYS = ("symbol", "ticker", "2. symbol", "2. digital currency code", "code", "name")


@dataclass(frozen=True)
class Part:
    """Rows with their header, and whose they are where the answer says it.

    not_daily: why they are no bars of days. zone, stamp_is: of minutes, what the answer says of
    their stamps.
    """

    rows: list[Row]
    symbol: str | None = None
    notes: tuple[str, ...] = ()
    not_daily: str = ""
    zone: str = ""
    stamp_is: str = ""


def read_answer(body: bytes, label: str) -> Iterator[Part]:
    answer = parse_json(body, label)
    if isinstance(answer, dict) and "chart" in answer:
        yield from read_chart(answer["chart"], label)
        return
    intraday = ""
    for key in answer if isinstance(answer, dict) else ():
        if re.search(r"weekly|monthly|\d+min", key, re.IGNORECASE):
            told = f"{label}: {key}: not daily bars"
            if "min" not in key.lower():
                raise Malformed(f"{told}: save the daily series")
            intraday = f"{told}: `make minutes` loads them, or save the daily series"
    for part in find_parts(answer, find_symbol(answer), 0):
        yield read_intraday(answer, part, intraday) if intraday else part


def read_intraday(answer: dict[str, Any], part: Part, not_daily: str) -> Part:
    """A series of Alpha Vantage, with what tells its stamps."""
    stamps = [row[0] or "" for row in part.rows[1:]]
    zone = read_field(answer.get("Meta Data"), "time zone") or ""
    stamp_is = tell_stamp(answer, stamps)
    return replace(part, not_daily=not_daily, zone=zone, stamp_is=stamp_is)


def parse_json(body: bytes, label: str) -> Any:
    """Numbers as text. One object a line is taken too."""
    try:
        text = body.decode("utf-8-sig")
        try:
            return load(text)
        except json.JSONDecodeError as error:
            if "Extra data" not in str(error):
                raise
            return [load(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)[:120]
        raise Malformed(
            f"{label}: no JSON that can be read ({reason}): convert it to CSV"
        ) from None


def load(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def find_symbol(answer: Any) -> str | None:
    """The symbol that an answer names beside its bars, or in its meta data."""
    if not isinstance(answer, dict):
        return None
    keys = {key.lower(): value for key, value in answer.items()}
    for name in SYMBOL_KEYS:
        if isinstance(keys.get(name), str) and not keys[name].isspace():
            return str(keys[name])
    for name in ("meta", "meta data", "metadata"):
        if found := find_symbol(keys.get(name)):
            return found
    return None


def find_parts(answer: Any, symbol: str | None, depth: int) -> Iterator[Part]:
    """Every list of bars in an answer."""
    if depth > DEEPEST:
        return
    rows = as_rows(answer)
    if rows:
        yield Part(rows, symbol)
    elif isinstance(answer, dict):
        for key, value in answer.items():
            named = find_symbol(value) or symbol
            is_symbol = named is None and re.fullmatch(r"[\^A-Z0-9.\-=/]{1,16}", key)
            yield from find_parts(value, key if is_symbol else named, depth + 1)
    elif isinstance(answer, list) and len(answer) <= 10_000:
        for value in answer:
            if isinstance(value, dict):
                yield from find_parts(value, find_symbol(value) or symbol, depth + 1)


def as_rows(answer: Any) -> list[Row] | None:
    """A list of bars in whatever shape; None where it is none."""
    if isinstance(answer, list) and answer:
        if all(isinstance(row, dict) for row in answer):
            return from_records(answer)
        if all(isinstance(row, list) and len(row) >= 5 for row in answer):
            return [[as_text(cell) for cell in row] for row in answer]
    if isinstance(answer, dict) and answer:
        return from_split(answer) or from_mapping(answer)
    return None


def from_records(records: list[dict[str, Any]]) -> list[Row] | None:
    header = list(dict.fromkeys(key for row in records[:50] for key in row))
    rows = [[as_text(row.get(key)) for key in header] for row in records]
    is_known = has_fields(header) or find_single(header, rows[:1])
    return [header, *rows] if is_known else None


def from_split(answer: Mapping[str, Any]) -> list[Row] | None:
    """Pandas' {"columns": [], "index": [], "data": []}."""
    columns, data, index = (answer.get(k) for k in ("columns", "data", "index"))
    if not isinstance(columns, list) or not isinstance(data, list):
        return None
    header = [str(name) for name in columns]
    if isinstance(index, list) and len(index) == len(data):
        return [
            ["", *header],
            *([as_text(i), *map(as_text, r)] for i, r in zip(index, data, strict=True)),
        ]
    return [header, *([as_text(cell) for cell in row] for row in data)]


def from_mapping(answer: Mapping[str, Any]) -> list[Row] | None:
    """Columns as lists or by date, or rows by date."""
    lists = {k: v for k, v in answer.items() if isinstance(v, list)}
    if has_fields(lists) and len({len(v) for v in lists.values()}) == 1:
        header = list(lists)
        return [header, *([as_text(c) for c in row] for row in zip(*lists.values(), strict=True))]
    inner = {k: v for k, v in answer.items() if isinstance(v, dict)}
    if inner and all(IS_DATE.fullmatch(key) for key in inner):
        header = list(dict.fromkeys(key for row in inner.values() for key in row))
        if has_fields(["date", *header]):
            return [
                ["date", *header],
                *([key, *(as_text(row.get(k)) for k in header)] for key, row in inner.items()),
            ]
    if has_fields(["date", *inner]):
        header = list(inner)
        keys = list(dict.fromkeys(key for column in inner.values() for key in column))
        dated = all(IS_DATE.fullmatch(key) for key in keys[:50])
        rows = ([key, *(as_text(inner[k].get(key)) for k in header)] for key in keys)
        return [["date" if dated else "row", *header], *rows]
    return None


def has_fields(header: Any) -> bool:
    columns = match_names([normalize(str(name)) for name in header])
    return "timestamp" in columns and all(price in columns for price in PRICES)


def as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def read_chart(chart: Any, label: str) -> Iterator[Part]:
    """Yahoo's v8 chart: the day of each bar is the exchange's own."""
    try:
        for result in chart["result"]:
            yield from read_result(result, label)
    except (KeyError, TypeError, IndexError, ValueError, OverflowError, OSError) as error:
        said = (chart.get("error") or {}) if isinstance(chart, dict) else {}
        reason = said.get("description") if isinstance(said, dict) else None
        raise Malformed(
            f"{label}: a chart of Yahoo without bars ({reason or repr(error)}): save it again"
        ) from None


def read_result(result: dict[str, Any], label: str) -> Iterator[Part]:
    meta = result["meta"]
    granularity = meta.get("dataGranularity", "1d")
    is_daily = granularity == "1d"
    told = f"{label}: bars of {granularity}: `make minutes` loads them, or save it with interval=1d"
    zone = ZoneInfo(meta.get("exchangeTimezoneName") or "UTC")

    def to_day(epoch: str) -> str:
        return datetime.fromtimestamp(int(float(epoch)), zone).date().isoformat()

    stamps = [to_day(epoch) if is_daily else epoch for epoch in result["timestamp"]]
    quotes = result["indicators"]["quote"][0]
    adjusted = (result["indicators"].get("adjclose") or [{}])[0].get("adjclose")
    columns = [quotes[name] for name in (*PRICES, "volume")]
    columns.append(adjusted or [None] * len(stamps))
    notes = ("prices of Yahoo are adjusted for splits",)
    header = ["date", *PRICES, "volume", "adjclose"]
    rows: list[Row] = [header, *map(list, zip(stamps, *columns, strict=True))]
    yield Part(rows, meta["symbol"], notes, "" if is_daily else told)
    yield from read_events(result.get("events") or {}, meta["symbol"], to_day)


def read_events(
    events: dict[str, Any], symbol: str, to_day: Callable[[str], str]
) -> Iterator[Part]:
    splits = [
        [to_day(e["date"]), f"{e['numerator']}:{e['denominator']}", None]
        for e in (events.get("splits") or {}).values()
    ]
    dividends = [
        [to_day(e["date"]), None, e["amount"]] for e in (events.get("dividends") or {}).values()
    ]
    if splits or dividends:
        yield Part([["date", "split", "dividend"], *splits, *dividends], symbol)
