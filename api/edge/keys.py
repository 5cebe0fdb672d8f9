"""Keys and ETags of answers: pure.

A key is (version of what the answer depends on, build fingerprint, audience, the request as
`canonical` writes it, media, coding). It begins with the version, of the request's symbols, or the
generation: so a publication makes unreachable what it changed without anyone telling this process,
and nothing else; there is no time to live. Only 200s are kept. Requests that share an answer share
a scope that was built from its key, so that none gets what was meant for another client.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from pydantic import BaseModel, ValidationError

from api.edge.gate import Head
from api.models.terms import INTRADAY, DayOfInstant

# Written as `canonical` writes it already: most of what is asked for, and not looked into.
DAY = rb"\d{4}-\d\d-\d\d"
RANGE = re.compile(rb"(?:start=%b(?:&end=%b)?|end=%b)?" % (DAY, DAY, DAY))
# The same of bars shorter than a day, in whatever order; canonical() puts it in the model's.
MINUTES = re.compile(
    rb"(?:(?:start|end)=%b|interval=(?:%b)|hours=(?:regular|extended))"
    % (DAY, "|".join(INTRADAY).encode())
)
IN_ORDER = (b"start", b"end", b"interval", b"hours")
SYMBOL = "symbol"
LONGEST_SYMBOL = 32  # as models.Symbol
MOST_PARAMETERS = 30  # more are refused, whatever they are


class Asked(NamedTuple):
    """What a request asks for: its path (below the root path), and its query."""

    path: str
    query: bytes


class Parameter(NamedTuple):
    """A parameter of a route: its name in the model and in the query, and what it is where it is
    left out, as value and as text."""

    attribute: str
    name: str
    default: Any
    text: str | None


class Form(NamedTuple):
    """What the query of a route may hold."""

    model: type[BaseModel]
    parameters: tuple[Parameter, ...]


def build_form(model: type[BaseModel]) -> Form:
    defaults = {n: None if f.is_required() else f.default for n, f in model.model_fields.items()}
    parameters = (
        Parameter(name, field.alias or name, defaults[name], show(defaults[name]))
        for name, field in model.model_fields.items()
    )
    return Form(model, tuple(parameters))


class Forms:
    """The forms of all routes by their paths (`/ohlcv`, `/instruments/{symbol}/ohlcv`)."""

    def __init__(self, models: Mapping[str, type[BaseModel]]) -> None:
        self.by_path: dict[str, Form] = {}
        self.by_end: dict[str, dict[str, tuple[str, Form]]] = {}
        for path, model in models.items():
            beginning, opened, rest = path.partition("{")
            name, _, end = rest.partition("}")
            if not opened:
                self.by_path[path] = build_form(model)
            elif "{" not in end and ":" not in name:
                self.by_end.setdefault(beginning, {})[end] = name, build_form(model)

    def find(self, path: str) -> tuple[Form, str] | None:
        """The form of a route, and the path in canonical case; None where none is known."""
        form = self.by_path.get(path)
        if form is not None:
            return form, path
        for beginning, ends in self.by_end.items():
            if path.startswith(beginning):
                value, slash, rest = path[len(beginning) :].partition("/")
                found = ends.get(slash + rest)
                if found is not None:
                    name, form = found
                    is_symbol = name == SYMBOL and can_be_folded(value)
                    return form, f"{beginning}{value.upper()}{slash}{rest}" if is_symbol else path
        return None


def can_be_folded(symbol: str) -> bool:
    """A symbol of other letters changes its length with its case, one too long is quoted."""
    return symbol.isascii() and len(symbol) <= LONGEST_SYMBOL


def canonical(forms: Forms, path: str, query: bytes, media: str) -> Asked:
    """The one way of writing a request: its parameters in the order of the route's model, without
    those that have their default; each as the model read it, so that case, %-coding and ways of
    writing a day do not matter.

    The route gets the request so written, so that two that are written alike have one answer, down
    to the URL of the next page. A request that is refused is left as it is: its answer quotes it.
    """
    found = forms.find(path)
    if found is None:
        return Asked(path, query)
    form, folded = found
    if RANGE.fullmatch(query):
        return Asked(folded, query)
    if "hours" in form.model.model_fields and (quick := write_minutes(query)) is not None:
        return Asked(folded, quick)
    written = write_query(form, query, media)
    # what does not read back as it was written is left alone, whatever the reason
    if written is None or (written != query and write_query(form, written, media) != written):
        return Asked(path, query)
    return Asked(folded, written)


def write_minutes(query: bytes) -> bytes | None:
    """A range of days of bars shorter than a day in canonical form; None of any other query."""
    parts = query.split(b"&", 4)
    given = {part.partition(b"=")[0]: part for part in parts if MINUTES.fullmatch(part)}
    if len(given) < len(parts) or b"interval" not in given:
        return None
    if given.get(b"hours") == b"hours=regular":
        del given[b"hours"]
    return b"&".join(given[name] for name in IN_ORDER if name in given)


def write_query(form: Form, query: bytes, media: str) -> bytes | None:
    """The query in canonical form; None where the route refuses it, or may.

    format=json is a default only where Accept asks for nothing else.
    """
    if query.count(b"&") >= MOST_PARAMETERS:
        return None
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    given = dict(pairs)
    if len(given) < len(pairs):
        return None
    try:
        read = form.model.model_validate(given)
        kept = [
            (each.name, text)
            for each in form.parameters
            if (value := getattr(read, each.attribute)) is not each.default
            and (text := show(value)) not in (None, each.text)
        ]
    except (ValidationError, TypeError):
        return None
    if media == "json" and ("format", "json") in kept:
        kept.remove(("format", "json"))
    return urlencode(kept).encode()


def show(value: Any) -> str | None:
    """A value of a parameter as a text that is read as the same value; None where there is none."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value).removesuffix(".0")
    if isinstance(value, DayOfInstant):
        return value.instant.isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime):  # an instant: naive UTC
        is_day = value.time() == time.max
        return value.date().isoformat() if is_day else f"{value.isoformat()}Z"
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no text is known of {type(value).__name__}")


def build_key(
    version: str,
    fingerprint: str,
    audience: str,
    url: str,
    wanted: tuple[str, str],
) -> str:
    """url: root path, path and query, as sent over the wire; wanted: media and coding; audience:
    who gets this answer, where it is not the same for all; "": it is."""
    named = quote(audience) if audience else ""
    return f"{version} {fingerprint} {named} {url} {wanted[0]} {wanted[1]}"


def build_etag(key: str) -> str:
    """Strong and quoted; the same in every process. It begins with the version, as the key does."""
    return f'"{key.partition(" ")[0]}-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"'


def matches(if_none_match: bytes, etag: str) -> bool:
    given = (part.strip().removeprefix("W/") for part in if_none_match.decode("latin-1").split(","))
    return any(part == etag for part in given)


def may_match(head: Head, etag: str) -> bool:
    """Whether If-Match, if there is one, names this answer: compared strongly."""
    given = head.get(b"if-match")
    if given is None or given.strip() == b"*":
        return True
    return etag in (part.strip() for part in given.decode("latin-1").split(","))
