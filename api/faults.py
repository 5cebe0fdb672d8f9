"""What a store, or whoever else works for a request, says where it has no answer.

Each has a message in plain English that names the remedy, and knows nothing of HTTP: `problems`
says which status each is answered with.
"""

from collections.abc import Sequence


class Fault(Exception):
    """The message is `str(fault)`."""


class NoDatabase(Fault):
    """Nothing was published yet, or nothing that can be read."""


class MinutesDown(Fault):
    """The minute store cannot be read now."""


class NoMinutes(Fault):
    """Of this symbol, or of any, no bars shorter than a day are stored."""


class OnlyMinutes(Fault):
    """Of this symbol no daily bars are stored, but shorter ones."""


class Damaged(Fault):
    """The store does not give back what was written."""


class OutOfMemory(Fault):
    def __init__(self) -> None:
        super().__init__(
            "The query needs more memory than it may have: ask for a shorter range or fewer rows,"
            " or raise DB_MEMORY_MB."
        )


class Busy(Fault):
    def __init__(self) -> None:
        super().__init__("Too many requests wait for their turn: ask again in some seconds.")


class QueryTimeout(Fault):
    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The query took longer than {seconds:g} s and was stopped: ask for a shorter range,"
            " or raise QUERY_TIMEOUT."
        )


class Refused(Fault):
    """The question has a value that no store can answer; the message says what is possible."""


class Unknown(Fault):
    """No such symbol; `nearest` are the stored ones that may have been meant."""

    def __init__(self, symbol: str, nearest: Sequence[str]) -> None:
        hint = (
            f"did you mean {' or '.join(nearest)}?" if nearest else "/instruments lists them all."
        )
        super().__init__(f"Unknown symbol {symbol}: {hint}")
        self.symbol = symbol
        self.nearest = list(nearest)


class UnknownRun(Fault):
    def __init__(self, run_id: str) -> None:
        super().__init__(f"Unknown run {run_id}: /etl/runs lists them all.")
