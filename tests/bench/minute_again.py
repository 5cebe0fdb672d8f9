"""Second questions: another range of what was read, beside a bare route that has the bytes ready.

No range is asked for twice. The bare route gives the answer to the first of them to all.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from tests.bench.minute_bars import Shape, list_days
from tests.bench.minute_reads import MOST_ROWS, write_url
from tests.bench.minute_rows import Took, show
from tests.bench.servers import Server, drive, fetch, serve_peer, serve_service
from tests.bench.speed import Result, write_lines

IN_THEIR_ORDER = -1  # a seed
WARM = 96  # symbols whose months were read, at most
A_TURN = 4_000  # questions
SETTINGS = {"MAX_ROWS": str(MOST_ROWS), "CACHE_MAX_MB": "1024", "QUERY_TIMEOUT": "60"}
Range = tuple[str, date, date]


def measure(folder: Path, data: Path, shape: Shape, seconds: int) -> None:
    days = list_days()[-shape.days :]
    names = shape.names[shape.long : shape.long + WARM]
    with serve_service(data, SETTINGS) as service:
        for name in names:  # read, then asked for once more, so that its text is made ready
            for url in list_months(name, days):
                fetch(service.base, url)
        compare("a day", service, folder, list_ranges(names, days, (1,)), seconds)
        compare("a month", service, folder, list_ranges(names, days, range(19, 22)), seconds)
        every = list_days()
        long = shape.names[: shape.long]
        for name in long:
            fetch(service.base, write_url(name, every[0], every[-1]))
        spans = range(len(every) - 12, len(every))
        compare("two years", service, folder, list_ranges(long, every, spans), seconds)


def list_months(name: str, days: list[date]) -> Iterator[str]:
    """The first and the last half of each month, which is read whole by either."""
    for day in {f"{day:%Y-%m}": day for day in days}.values():
        yield write_url(name, day.replace(day=1), day.replace(day=14))
        yield write_url(name, day.replace(day=15), day)


def list_ranges(names: list[str], days: list[date], lengths: Iterable[int]) -> list[str]:
    found = [
        write_url(name, days[first], days[first + length - 1])
        for name in names
        for length in lengths
        for first in range(len(days) - length)
    ]
    random.Random(7).shuffle(found)
    return found


def compare(what: str, service: Server, folder: Path, urls: list[str], seconds: int) -> None:
    body = folder / "body.json"
    body.write_bytes(fetch(service.base, urls.pop()))
    ours, bare = [], []
    with ExitStack() as stack:
        peer = stack.enter_context(serve_peer("bare_fastapi", body, body))
        each = min(A_TURN, len(urls) // seconds)
        for turn in range(seconds):
            asked = write_lines(folder / "urls.txt", urls[turn * each : (turn + 1) * each])
            ours.append(drive(service, asked, IN_THEIR_ORDER))
            bare.append(drive(peer, asked, IN_THEIR_ORDER))
    own, its = Result(ours), Result(bare)
    ratios = Took(own.rate / its.rate, its.cpu / own.cpu)
    title = f"another range, {what} ({body.stat().st_size / 1000:,.0f} kB), 1/s"
    show(title, own.rate, its.rate, ratios, 0.8, least=True)
    if again := sum(max(0, turn.requests - each) for turn in ours):
        print(f"  {again / own.requests:.0%} of ours were asked for again within their turn")
