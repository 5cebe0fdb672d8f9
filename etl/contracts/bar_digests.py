"""The digest of a bar: 64 bits that move with each of its values.

An instrument's digest is the XOR of its bars' digests, so that a load brings it in step by what
changed alone. A digest is arithmetic on the bits of the values and on nothing that another version
of DuckDB may do otherwise, as its hash() may: what is stored stays comparable for ever. OF_BAR
keeps the arithmetic of older schemas too, to check the files that were written under them.
"""

from etl.contracts.tables import SCHEMA_VERSION

# A product of 64 bits and one of these, and the sum of six such, is below 2^128.
KEYS = {
    "epoch_us(timestamp)": 0x9E3779B97F4A7C1,
    "open": 0xC2B2AE3D27D4EB5,
    "high": 0x165667B19E3779F,
    "low": 0x85EBCA77C2B2AE7,
    "close": 0x27D4EB2F165667D,
    "volume": 0xD6E8FEB86659FD9,
}
LAST_KEY = 0x9E3779B97F4A7C15
ALL_BITS = 2**64 - 1  # stands for a missing value; as a price it is not a number


def fold(number: str) -> str:
    """SQL: 128 bits as 64, the upper half on the lower."""
    return f"xor({number} & {ALL_BITS}::UHUGEINT, {number} >> 64)"


def mix(values: dict[str, int]) -> str:
    """SQL: the values' bits times a key each, summed and folded; times the last key and folded.

    The sum alone would be the same if two bars swapped a value; what follows is not linear.
    """
    product = f"({fold(f'({add_up(values)})')} * {LAST_KEY}::UHUGEINT)"
    return f"{fold(product)}::UBIGINT"


def add_up(values: dict[str, int]) -> str:
    return " + ".join(
        f"coalesce({value}::BIT::UBIGINT, {ALL_BITS})::UHUGEINT * {key}::UHUGEINT"
        for value, key in values.items()
    )


# Schema version → SQL over the columns of a bar.
OF_BAR = {
    1: (
        "md5_number_lower(concat_ws('|', symbol, epoch_us(timestamp), open, high, low, close,"
        " coalesce(volume::VARCHAR, '')))"
    ),
    2: mix(KEYS),
    3: mix(KEYS),
    4: mix(KEYS),
}
BAR_DIGEST = OF_BAR[SCHEMA_VERSION]


def digest_rows(rows: str, version: int = SCHEMA_VERSION) -> str:
    """SQL: the rows of a query over bars, with `digest`. The same as OF_BAR, told in steps: as one
    expression it names each value four times, and takes ten milliseconds to be bound."""
    if OF_BAR[version] != BAR_DIGEST:
        return f"SELECT *, {OF_BAR[version]} AS digest FROM ({rows})"
    return f"""
        SELECT * EXCLUDE (mixed_sum, mixed_product), {fold("mixed_product")}::UBIGINT AS digest
        FROM (SELECT *, {fold("mixed_sum")} * {LAST_KEY}::UHUGEINT AS mixed_product
              FROM (SELECT *, {add_up(KEYS)} AS mixed_sum FROM ({rows})))"""
