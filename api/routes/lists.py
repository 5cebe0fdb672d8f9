"""How lists go out: a page of rows, and a reference to the page after it."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from api.encode.formats import JSON
from api.encode.text import encode_json
from api.routes.context import Context
from api.store import Reader, Rows


def move_on(request: Request, **changes: str) -> str:
    """The request's own URL with some parameters set anew: a reference relative to it.

    Without a path, so that it leads on behind every prefix that a proxy may put in front.
    """
    return f"?{urlencode({**request.query_params, **changes})}"


def cut_rows(
    request: Request, rows: Rows, limit: int, name_place: Callable[[Rows], str]
) -> tuple[Rows, str | None]:
    """The rows of a page, and the URL of those after it, if there is a row more than `limit`.

    name_place: what `after` is for a page to begin behind these rows.
    """
    page = rows[:limit]
    return page, move_on(request, after=name_place(page)) if len(rows) > limit else None


def name_last(column: str) -> Callable[[Rows], str]:
    """For a list that goes on after the last row, by its value in a column."""
    return lambda page: str(page[-1][column])


def count_on(after: int) -> Callable[[Rows], str]:
    """For a list that goes on after a number of rows, of which `after` lie before this page."""
    return lambda page: str(after + len(page))


async def answer_list(
    request: Request,
    context: Context,
    limit: int | None,
    read: Callable[[Reader, int], Rows],
    name_place: Callable[[Rows], str],
    is_wide: bool = False,
) -> Response:
    """One page of a list: `read` gives its rows, at most so many, behind where the page begins."""
    most = context.check_limit(limit)
    rows = await context.ask(lambda reader: read(reader, most + 1), is_wide)
    page, following = cut_rows(request, rows, most, name_place)
    return answer_json({"count": len(page), "next": following, "data": page})


def answer_json(value: Mapping[str, Any]) -> Response:
    """A JSON answer; its `next`, if any, stands in the Link header too."""
    following = value.get("next")
    headers = {"Link": f'<{following}>; rel="next"'} if following else None
    return Response(encode_json(value), headers=headers, media_type=JSON)
