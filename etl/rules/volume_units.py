"""Volumes as whole numbers of a unit, and from one unit into another."""

from etl.contracts.tables import MOST_DECIMALS, MOST_VOLUME, raise_ten


def fit_decimals(wanted: int, most: int) -> int:
    """The most decimals, up to `wanted`, with which a volume of `most` · 10^-18 fits."""
    fits = (d for d in range(wanted, 0, -1) if most <= MOST_VOLUME * 10 ** (MOST_DECIMALS - d))
    return next(fits, 0)


def rescale(volume: str, before: str, after: str) -> str:
    """SQL: a volume of so many decimals as one of so many others, the last one rounded.

    What is too large for that is not taken (see etl.store.volumes), and gets the largest number.
    """
    finer, coarser = raise_ten(f"{after} - {before}"), raise_ten(f"{before} - {after}")
    return f"""CASE WHEN {volume} IS NULL THEN NULL
        WHEN {after} >= {before} THEN least({volume}::HUGEINT * {finer}, {MOST_VOLUME})::BIGINT
        ELSE (({volume}::HUGEINT + {coarser} // 2) // {coarser})::BIGINT END"""


def is_lossy(volume: str, before: str, after: str) -> str:
    return f"({after} < {before} AND {volume} % {raise_ten(f'{before} - {after}')} <> 0)"


def write(volume: str, decimals: str) -> str:
    """SQL: a volume as text."""
    unit = raise_ten(decimals)
    return f"""concat({volume} // {unit}, CASE WHEN {decimals} > 0 THEN
        '.' || lpad(({volume} % {unit})::VARCHAR, {decimals}, '0') ELSE '' END)"""


def explain(given: str) -> str:
    """SQL: the detail of a note."""
    return f"concat('of ', {given}, ': more digits than 63 bits hold')"
