"""Whatever part of the path of live bars is killed, each bar is stored once, and told once."""

from collections import Counter
from pathlib import Path

import pytest

from tests.live_kills import (
    PARTS,
    following,
    kill_parts,
    open_live,
    read_changes,
    read_digests,
)
from tests.redis_server import run_redis
from tests.server import wait_until


@pytest.mark.parametrize(
    ("count", "speed"),
    [
        pytest.param(6, 900, marks=pytest.mark.long, id="a few"),
        pytest.param(60, 60, marks=pytest.mark.live, id="many"),
    ],
)
def test_a_day_in_replay_is_stored_and_told_once_whatever_is_killed(
    tmp_path: Path, count: int, speed: float
) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with (
        run_redis(folder, is_durable=True) as redis,
        open_live(tmp_path, redis, speed) as live,
        following(live.port) as follower,
    ):
        killed = Counter(kill_parts(live, count, seed=15))
        assert set(killed) == set(PARTS)
        live.finish()
        assert read_digests(live.target) == read_digests(live.source)
        changes = read_changes(live.target)
        news = Counter((row["symbol"], row["timestamp"]) for row in changes if row["kind"] == "new")
        assert set(news.values()) == {1}
        assert {row["kind"] for row in changes} <= {"new", "repeated"}
        wait_until(lambda: len(follower.heard) >= len(changes))
        assert follower.opened > killed["API"]
        told = [position for _, position in follower.heard]
        assert told == [f"{row['counter']}-{row['number']}" for row in changes]
