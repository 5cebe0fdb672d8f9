"""Whether the tables are ours and whole."""

from collections.abc import Iterator, Sequence

from etl.contracts.minutes import BASE_INTERVALS, MinuteStoreError
from etl.contracts.minutes.clickhouse.link import Link
from etl.contracts.minutes.clickhouse.snapshot import ClickHouseSnapshot
from etl.contracts.minutes.clickhouse.tables import (
    BARS,
    INSTRUMENTS,
    OF_INTERVAL,
    OF_STORE,
    Table,
    describe_column,
    name_table,
)

COLUMNS = (
    "SELECT table, groupArray((name, type)) AS columns FROM system.columns WHERE database ="
    " currentDatabase() AND table IN {names:Array(String)} GROUP BY table"
)


def check_columns(link: Link) -> None:
    """MinuteStoreError where a table of our name has other columns than ours."""
    ours = dict(list_tables())
    for row in link.read(COLUMNS, {"names": sorted(ours)}).to_pylist():
        found = {tuple(column.values()) for column in row["columns"]}
        wanted = {(field.name, describe_column(field)) for field in ours[row["table"]].schema}
        if found != wanted:
            other = sorted(name for name, _ in found ^ wanted)[0]
            raise MinuteStoreError(
                f"the minute store {link.address.shown} has a table {row['table']} that is not of"
                f" this version of the service (column {other}): give MINUTE_STORE a database of"
                " its own"
            )


def list_tables() -> Iterator[tuple[str, Table]]:
    for table in OF_STORE:
        yield table.name, table
    for interval in BASE_INTERVALS:
        for table in OF_INTERVAL:
            yield name_table(table, interval), table


def list_checks(snapshot: ClickHouseSnapshot) -> Sequence[tuple[str, str]]:
    """As MinuteStore.verify, of what only this engine has."""
    unknown = [
        f"{symbol} {interval}"
        for interval in sorted({interval for _, interval in snapshot.keys})
        for symbol in find_unknown(snapshot.link, interval)
    ]
    left = snapshot.published.load and f"those of the load {snapshot.published.load} are not"
    return (
        ("all rows that were published are in the main tables", left),
        ("the store says something of each symbol that has bars", ", ".join(unknown)),
    )


def find_unknown(link: Link, interval: str) -> list[str]:
    query = (
        f"SELECT DISTINCT symbol FROM {name_table(BARS, interval)} WHERE symbol NOT IN (SELECT"
        f" symbol FROM {INSTRUMENTS.name} WHERE interval = {{interval:String}}) ORDER BY symbol"
        " LIMIT 3"
    )
    names: list[str] = link.read(query, {"interval": interval})["symbol"].to_pylist()
    return names
