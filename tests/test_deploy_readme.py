"""deploy/README.md: what it names is there."""

import re
from itertools import chain

import pytest

from tests.test_alert_rules import list_rules
from tests.test_deploy import DEPLOY, NAMES
from tests.test_docs import TARGETS

README = (DEPLOY / "README.md").read_text()
ROOT = DEPLOY.parent
# OWASP ASVS 4.0.3, level 1: section → its items.
LEVEL_1 = {
    **{"2.1": range(1, 13), "2.2": range(1, 4), "2.3": [1], "2.5": range(1, 7), "2.7": range(1, 5)},
    **{"2.8": [1], "3.1": [1], "3.2": range(1, 4), "3.3": [1, 2], "3.4": range(1, 6), "3.7": [1]},
    **{"4.1": [1, 2, 3, 5], "4.2": [1, 2], "4.3": [1, 2], "5.1": range(1, 6), "5.2": range(1, 9)},
    **{"5.3": range(1, 11), "5.5": range(1, 5), "6.2": [1], "7.1": [1, 2], "7.4": [1]},
    **{"8.2": range(1, 4), "8.3": range(1, 5), "9.1": range(1, 4), "10.3": range(1, 4)},
    **{"11.1": range(1, 6), "12.1": [1], "12.3": range(1, 6), "12.4": [1, 2], "12.5": [1, 2]},
    **{"12.6": [1], "13.1": [1, 3], "13.2": [1, 2, 3], "13.3": [1], "14.2": [1, 2, 3]},
    **{"14.3": [2, 3], "14.4": range(1, 8), "14.5": range(1, 4)},
}
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+.*?) \| (.*?) \| (.*) \|$", README, re.MULTILINE)


def test_every_setting_that_is_named_is_one() -> None:
    words = re.findall(r"`([A-Z][A-Z_]{3,})[`=]|^([A-Z][A-Z_]{3,})=", README, re.MULTILINE)
    others = {"ARGS", "ETL_MESSAGE", "ETL_STAGE", "ETL_RUN_ID", "ETL_EXIT_CODE", "PGPASSFILE"}
    assert set(filter(None, chain.from_iterable(words))) - others <= NAMES


def test_every_make_target_that_is_named_is_one() -> None:
    named = set(re.findall(r"(?:`|sudo |-u mds )make(?: -C /opt/mds)? ([a-z-]+)", README))
    assert {"install", "user", "plan", "verify"} <= named
    assert named <= TARGETS


def test_every_file_that_is_named_is_there() -> None:
    here = re.findall(r"`((?:systemd|nginx|docker|prometheus|alertmanager|logs)/[\w./-]*)`", README)
    there = re.findall(r"/opt/mds/(deploy/[\w./-]+)", README)
    assert here
    assert there
    assert [name for name in here if not (DEPLOY / name).exists()] == []
    assert [name for name in there if not (ROOT / name).exists()] == []
    units = re.findall(r"\bmds-[a-z]+\.(?:service|timer)", README)
    assert units
    assert [name for name in units if not (DEPLOY / "systemd" / name).exists()] == []


def test_every_alert_is_told_and_no_other() -> None:
    assert set(re.findall(r"`(Mds\w+)`", README)) == {rule["alert"] for rule in list_rules("alert")}


def test_every_item_of_level_1_is_walked_once() -> None:
    walked = sorted(item for items, _, _ in ROWS for item in spread(items))
    assert walked == sorted((section, n) for section, ns in LEVEL_1.items() for n in ns)


def spread(items: str) -> list[tuple[str, int]]:
    """Section and number of each item of a row: 2.1.1 – 2.1.3, 2.1.9."""
    found = []
    for part in items.split(", "):
        first, _, last = part.partition(" – ")
        section, _, number = first.rpartition(".")
        end = int((last or first).rpartition(".")[2])
        found += [(section, n) for n in range(int(number), end + 1)]
    return found


@pytest.mark.parametrize("state", sorted({state for _, state, _ in ROWS}))
def test_the_state_of_an_item_is_one_of_few(state: str) -> None:
    assert state in ("holds", "holds in part", "holds by nginx", "**open**", "n/a")


def test_every_test_that_is_cited_is_there() -> None:
    cited = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", README)
    assert len(cited) > 20
    texts = {path: (ROOT / path).read_text() for path, _ in cited}
    assert [name for path, name in cited if f"def {name}(" not in texts[path]] == []
