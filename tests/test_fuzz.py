"""The short form of `make fuzz`."""

from pathlib import Path
from shutil import copytree

import pytest

from tests.fuzz import ADMIN, NOBODY, fuzz
from tests.minute_data import Minutes, fill


@pytest.mark.long
def test_no_request_made_from_the_schema_finds_a_fault(sample_dir: Path, tmp_path: Path) -> None:
    data_dir = Path(copytree(sample_dir, tmp_path / "data"))
    fill(data_dir, Minutes("AAPL"), Minutes("IBM"))
    done = fuzz(data_dir, 2, "--seed", "1")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.long
@pytest.mark.parametrize("caller", [ADMIN, NOBODY])
def test_nothing_is_behind_a_guard_without_a_name(sample_dir: Path, caller: str) -> None:
    done = fuzz(sample_dir, 2, "--seed", "1", caller=caller)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
