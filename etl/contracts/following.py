"""How a replica stands to its source: written by who follows, read by who serves.

Of a fault it holds nothing that an answer may not show: no address and no path.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "following.json"


@dataclass(frozen=True)
class Following:
    """Instants are seconds since 1970, 0: never.

    generation: the one that is here, "" for none; reached_at: when the source last answered, and
    was in order; looked_at: when it was last asked; faults: how often it was asked in vain, of
    which `fault` says why the last time.
    """

    generation: str = ""
    looked_at: float = 0.0
    reached_at: float = 0.0
    fault: str = ""
    faults: int = 0
    fetched_bytes: int = 0
    swaps: int = 0


def write_following(folder: Path, state: Following) -> None:
    """In one step. It is not flushed to the disk: the next look writes it again."""
    path = folder / NAME
    next_path = path.with_name(f"{NAME}.next")
    next_path.write_text(json.dumps(asdict(state)))
    os.replace(next_path, path)  # noqa: PTH105


def read_following(folder: Path) -> Following:
    """What was last written; nothing known where that cannot be read."""
    try:
        found = json.loads((folder / NAME).read_bytes())
        known = asdict(Following())
        return Following(**{name: type(was)(found[name]) for name, was in known.items()})
    except (OSError, ValueError, TypeError, KeyError):
        return Following()
