"""Lists of symbols in a request: which they are, and which of them are known."""

from collections.abc import Container

from api.bars.view import View
from api.encode.formats import Format
from api.problems import Problem

MOST_SYMBOLS = 100
FEWER = "ask for fewer symbols"
NO_ROW = "after={} is no row of this answer: take it from `next`"


def read_symbols(text: str) -> list[str]:
    """The symbols of a list, which the model has in upper case, each once."""
    names = text.split(",") if text else []
    if not 1 <= len(names) <= MOST_SYMBOLS:
        raise Problem(422, f"symbols: {len(names)} given: name 1 to {MOST_SYMBOLS}, as AAPL,MSFT")
    return names


def must_know(unknown: str | None, chosen: Format) -> bool:
    """Whether an unknown symbol is an error: where asked for, and where the body cannot name it."""
    return unknown == "error" or (unknown is None and chosen.is_file)


def part_view(
    view: View, known: Container[str], must_know: bool, what: str = "is known"
) -> tuple[View, list[str]]:
    """The view of those symbols that are known, and the unknown ones; a 404 Problem if none is
    known, or one is not that must be."""
    unknown = [name for name in view.symbols if name not in known]
    if len(unknown) == len(view.symbols):
        raise Problem(404, f"None of these symbols {what}: {', '.join(unknown)[:200]}")
    if unknown and must_know:
        raise Problem(
            404,
            f"Unknown symbols: {', '.join(unknown)[:200]}; unknown=skip leaves them out",
            unknown=unknown,
        )
    return view._replace(symbols=tuple(n for n in view.symbols if n in known)), unknown
