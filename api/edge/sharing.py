"""Which answers instances share through a Redis: those that are dearer to make than to fetch.

To fetch an answer of 25 kB takes 145 us of processor time, and the lock and putting it there 250.
The bars of half a year of a symbol, which the shortcut writes from the columns in memory, take 125:
ranges of bars up to that length are made by each instance. All else is made once: a year of bars
takes 180, statistics 265, whatever FastAPI routes more. Answers about the records of runs depend on
files of this machine, and stay on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.edge.targets import Target

if TYPE_CHECKING:  # loaded only where a setting names a Redis
    from api.cache.shared import SharedAnswers


@dataclass(frozen=True)
class Sharing:
    """is_cheap, is_local: whether an answer is made in less time than it is fetched in; and whether
    it depends on more than the store."""

    answers: "SharedAnswers"
    is_cheap: Callable[[str, bytes], bool]
    is_local: Callable[[Target], bool]

    def takes(self, target: Target) -> bool:
        return not self.is_local(target) and not self.is_cheap(target.route_path, target.query)
