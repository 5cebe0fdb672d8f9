"""A few deaths of the whole ETL under a serving API; tests/crash.py has very many."""

import random
from pathlib import Path

import pytest

from tests.crash import make_files, open_sweep


@pytest.mark.long
def test_after_a_death_anywhere_the_next_run_gives_the_table_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    with open_sweep(folder, make_files, is_thorough=False) as sweep:
        count = sweep.learn()
        renames = [i + 1 for i, name in enumerate(sweep.steps) if name.endswith(" replace")]
        # before and after the rename that publishes, and at any other step
        for step in (renames[-4], renames[-3], random.randint(1, count)):
            sweep.die_at(step)
        sweep.die_after(random.uniform(0.2, 0.8) * sweep.duration)
        assert sum(sweep.deaths.values()) >= 3
