"""What the store keeps of each symbol and interval: rows of etl.contracts.minutes.instruments.

A load brings them in step by what it changes alone: sums, first, last, most and least.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import pyarrow as pa

from etl.contracts.minutes.clickhouse.link import Link
from etl.contracts.minutes.clickhouse.published import Published, Question, ask
from etl.contracts.minutes.clickhouse.tables import INSTRUMENTS
from etl.contracts.minutes.digests import DIGITS
from etl.contracts.minutes.instruments import ACCOUNTS

Key = tuple[str, str]  # symbol, interval
T = TypeVar("T")


@dataclass(frozen=True)
class Account:
    """A row of `instruments`; one without bars keeps the sums of what else there is."""

    symbol: str
    interval: str
    exchange: str = ""
    bars: int = 0
    first: datetime | None = None
    last: datetime | None = None
    decimals: int = 0
    room: int = DIGITS
    digest: int = 0
    known: int = 0
    revised: int = 0
    noted: int = 0
    asked: int = 0
    sources: tuple[str, ...] = ()

    def take(self, change: Mapping[str, Any]) -> "Account":
        """With what a row of digests.ACCOUNT changes."""
        sums = {name: change[name] for name in ("digest", "known", "revised")}
        joined = replace(
            self,
            bars=self.bars + change["bars"],
            first=choose(min, self.first, change["first"]),
            last=choose(max, self.last, change["last"]),
            decimals=max(self.decimals, change["decimals"] or 0),
            room=min(self.room, DIGITS if change["room"] is None else change["room"]),
            sources=tuple(sorted({*self.sources, *(change["sources"] or ())})),
        )
        return joined.mix(**sums)

    def mix(self, **sums: int) -> "Account":
        """With these sums more, or less: XOR is both."""
        return replace(self, **{name: getattr(self, name) ^ sum for name, sum in sums.items()})


Accounts = dict[Key, Account]


def choose(better: Callable[..., Any], one: T | None, other: T | None) -> T | None:
    given = [each for each in (one, other) if each is not None]
    found: T | None = better(given) if given else None
    return found


def read_accounts(link: Link, published: Published) -> pa.Table:
    """ACCOUNTS as stored, with `is_newer`."""
    if not published.generation:
        return ACCOUNTS.empty_table().append_column("is_newer", pa.array([], pa.bool_()))
    return ask(link, Question(INSTRUMENTS, tuple(ACCOUNTS.names)), published, {})


def to_accounts(rows: pa.Table) -> Accounts:
    found = (Account(**{**row, "sources": tuple(row["sources"])}) for row in rows.to_pylist())
    return {(each.symbol, each.interval): each for each in found}


def to_rows(accounts: Iterable[Account]) -> pa.Table:
    rows = [{**vars(each), "sources": list(each.sources)} for each in accounts]
    return pa.Table.from_pylist(rows, ACCOUNTS)
