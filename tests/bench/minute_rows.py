"""Two things that are measured in turns, and the line that tells how they compare with a goal."""

import math
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

NO_TIME = math.nan  # where it cannot be told


class Took(NamedTuple):
    """Seconds by the clock, and of processors."""

    wall: float
    cpu: float


Pair = tuple[Took, Took]  # ours, and the peer's
Ask = Callable[[str], Awaitable[object]]


async def clock(ask: Ask, question: str) -> Took:
    """In this process, all of its threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    await ask(question)
    return Took(time.perf_counter() - wall, time.process_time() - cpu)


async def take_turns(ours: Ask, peer: Ask, questions: list[str]) -> list[Pair]:
    """Both are asked the same, one right after the other; each is first every other time."""
    pairs: list[Pair] = []
    for number, question in enumerate(questions):
        first, second = (ours, peer) if number % 2 else (peer, ours)
        took = await clock(first, question), await clock(second, question)
        pairs.append(took if number % 2 else (took[1], took[0]))
    return pairs


def show_head() -> None:
    print(
        f"{'':52}{'ours':>10}{'peer':>10}{'wall':>9}{'processor':>11}  goal\n"
        f"{'(medians of turns, in ms, of ratios too)':52}",
        flush=True,
    )


def show_times(what: str, pairs: list[Pair], most: float) -> None:
    ours, peer = (
        statistics.median(took.wall for took in each) for each in zip(*pairs, strict=True)
    )
    ratios = Took(*(statistics.median(a[n] / max(b[n], 1e-6) for a, b in pairs) for n in (0, 1)))
    show(what, 1000 * ours, 1000 * peer, ratios, most)


def show(
    what: str, ours: float, peer: float, ratios: Took, goal: float, least: bool = False
) -> None:
    """ratios: ours over the peer's; least: as many times the peer's, or more, is the goal."""
    told = [ratio for ratio in ratios if not math.isnan(ratio)]
    met = [ratio >= goal if least else ratio <= goal for ratio in told]
    verdict = f"met by {'the clock' if met[0] else 'processor time'} alone"
    if len(set(met)) == 1:
        verdict = "met" if met[0] else "MISSED"
    print(
        f"{what:52}{ours:10,.2f}{peer:10,.2f}{ratios.wall:7.2f} x{write(ratios.cpu):>11}"
        f"  {'>=' if least else '<='} {goal:g} x: {verdict}",
        flush=True,
    )


def write(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{ratio:.2f} x"
