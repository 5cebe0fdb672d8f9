"""Matrices of the returns of several symbols."""

from fastapi import Response

from api.bars.adjust import tell_actions
from api.bars.view import build_figures_view, check_range, tell_instant
from api.figures.comparison import compute_matrices
from api.models.many import MatrixQuery
from api.routes.context import Context, check_size
from api.routes.lists import answer_json
from api.routes.symbols import FEWER, read_symbols
from api.routes.taken import part_stored, take_parts


async def answer_matrix(
    context: Context, query: MatrixQuery, left_out: str, periods: int | None = None
) -> Response:
    check_range(query.start, query.end)
    view = build_figures_view(read_symbols(query.symbols), query)
    known, unknown = await part_stored(context, view, query.unknown == "error")
    check_size(len(known.symbols), context.max_rows, FEWER)
    parts, minutes = await take_parts(context, known)
    matrices = await context.series_cache.compute(
        lambda: compute_matrices(parts, query.kind, periods)
    )
    matrices.pop(left_out)
    told = {"interval": view.interval, **minutes, "adjustment": view.adjustment}
    told |= tell_actions(*parts)
    annual = {"periods": periods} if periods else {}
    instant = tell_instant(view.as_of)
    return answer_json({**told, **instant, **annual, "unknown": unknown, **matrices})
