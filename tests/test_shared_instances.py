"""Four instances as they are run, over one Redis: each answer is made once among them."""

import asyncio
import random
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.bench.asking import Seen, ask_all
from tests.redis_server import run_redis
from tests.server import serve_process

SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
URLS = [f"/instruments/{symbol}/statistics?start=2005-01-01&risk_free=0.{number:03}"
        for symbol in SYMBOLS for number in range(1, 501)]  # fmt: skip
CONNECTIONS = 4


async def ask_each(clients: list[httpx.Client]) -> list[Seen]:
    """Each instance is asked for all answers, in an order of its own, all at once."""
    orders = [(str(client.base_url), iter(random.sample(URLS, len(URLS)))) for client in clients]
    lists = await asyncio.gather(*(ask_all(*order, CONNECTIONS, 0) for order in orders))
    return [seen for each in lists for seen in each]


@pytest.mark.long
def test_four_instances_from_cold_make_each_answer_once_and_one_started_anew_makes_none(
    sample_dir: Path, tmp_path: Path
) -> None:
    random.seed(7)
    with run_redis(tmp_path) as redis, ExitStack() as stack:
        clients = [
            stack.enter_context(serve_process(sample_dir, CACHE_URL=redis.url)) for _ in range(4)
        ]
        seen = asyncio.run(ask_each(clients))
        with serve_process(sample_dir, CACHE_URL=redis.url) as anew:
            again = asyncio.run(ask_each([anew]))
    assert {each.status for each in [*seen, *again]} == {200}
    assert len(seen) == 4 * len(URLS)
    assert len(URLS) <= sum(each.is_made for each in seen) <= 1.01 * len(URLS)
    assert sum(each.is_made for each in again) == 0
