"""How many streams each caller has open."""

from collections import Counter

from starlette.requests import HTTPConnection

from api.problems import Problem


class Streams:
    """most: of one caller, in this process. peak: how many there are in all is `len`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open: Counter[str] = Counter()

    def enter(self, request: HTTPConnection) -> str:
        """The caller, who now has one more. Problem (429) where that is too many."""
        caller = getattr(request.state, "caller", None)
        name = f"{caller.kind} {caller.name}" if caller else find_address(request)
        if self.open[name] >= self.most:
            raise Problem(
                429,
                f"{self.most} streams of one caller are open (STREAMS_PER_CALLER): close one, or"
                " ask for several symbols in one",
                headers={"Retry-After": "5"},
            )
        self.open[name] += 1
        return name

    def leave(self, name: str) -> None:
        self.open[name] -= 1
        self.open += Counter()  # takes out those that have none

    def __len__(self) -> int:
        return sum(self.open.values())


def find_address(request: HTTPConnection) -> str:
    return request.client.host if request.client else ""
