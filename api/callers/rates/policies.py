"""What callers are allowed: so many requests in a window of so many seconds.

Written as the library `limits` reads it (100/minute, 5/second;1000/hour). Counting is done here:
its storage in memory has no bound, and costs more than the look-up of a ready answer can spare.
"""

from dataclasses import dataclass

from api.settings import parse_rate

NAME = "default"
BLOCKS = 10  # a process leases a tenth of a quota at a time


@dataclass(frozen=True)
class Policy:
    """quota: requests in `window` seconds, counted from a caller's first. block: leased at once."""

    name: str
    quota: int
    window: int

    @property
    def block(self) -> int:
        return -(-self.quota // BLOCKS)

    @property
    def told(self) -> str:
        """As a member of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self.quota};w={self.window}'


def build_policies(rate: str) -> tuple[Policy, ...]:
    """The policies in a setting; several bear their seconds in their names."""
    pairs = parse_rate(rate)
    if len(pairs) == 1:
        return (Policy(NAME, *pairs[0]),)
    return tuple(Policy(f"{NAME}-{window}s", quota, window) for quota, window in pairs)
