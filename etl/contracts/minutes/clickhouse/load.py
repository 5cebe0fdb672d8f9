"""A load in the making: its own tables, what it reads beside the main ones, and its publication."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from uuid import uuid4

import pyarrow as pa

from etl.contracts import minutes
from etl.contracts.minutes import CHANGES, MinuteStoreError
from etl.contracts.minutes.clickhouse.accounts import (
    Account,
    Accounts,
    Key,
    to_rows,
)
from etl.contracts.minutes.clickhouse.lease import HOLDERS, Lease
from etl.contracts.minutes.clickhouse.link import Link, MissingTable
from etl.contracts.minutes.clickhouse.published import Published, name_load, read_published
from etl.contracts.minutes.clickhouse.rows import split_names
from etl.contracts.minutes.clickhouse.tables import (
    CHANGED,
    GENERATION,
    INSTRUMENTS,
    OF_INTERVAL,
    OF_STORE,
    VERSION,
    WITHDRAWN,
    Table,
    join,
    name_table,
    write_ddl,
)
from etl.contracts.minutes.live import TOLD

# Written only while this load's writer has its place and nobody published meanwhile.
PUBLISH = (
    f"INSERT INTO {GENERATION.name} ({join(GENERATION.schema.names)}) SELECT 0, {{counter:UInt64}},"
    " {generation:String}, now64(6), {load:String}, {tables:Array(String)}, {kept_from:UInt64},"
    " {step:UInt64} WHERE"
    f" (SELECT max(step) FROM {GENERATION.name}) < {{step:UInt64}} AND"
    f" (SELECT max(counter) FROM {GENERATION.name}) = {{base:UInt64}} AND"
    f" {{id:String}} IN (SELECT id FROM ({HOLDERS}))"
)
# That all its rows are in the main tables now.
ATTACHED = (
    f"INSERT INTO {GENERATION.name} ({join(GENERATION.schema.names)}) SELECT place, counter,"
    f" generation, published_at, '', [], kept_from, step + 1 FROM {GENERATION.name} WHERE step ="
    " {step:UInt64} LIMIT 1"
)


class Load:
    """accounts: of all symbols, as they will be. touched: those that it writes anew."""

    def __init__(self, link: Link, base: Published, accounts: Accounts) -> None:
        self.link, self.base, self.accounts = link, base, accounts
        self.id = uuid4().hex[:12]
        self.tables: list[str] = []
        self.counter = base.counter
        self.touched: set[Key] = set()
        self.told: list[pa.Table] = []  # what live batches changed
        self.is_broken = False

    @property
    def view(self) -> Published:
        """What is published, and over it what this load has written."""
        return replace(self.base, counter=self.counter, load=self.id, tables=tuple(self.tables))

    def keep(self, account: Account) -> None:
        key = account.symbol, account.interval
        if self.accounts.get(key) != account:
            self.accounts[key] = account
            self.touched.add(key)

    def insert(
        self, table: Table, interval: str, rows: pa.Table, is_withdrawn: bool = False
    ) -> None:
        """Rows without `is_withdrawn` and `version`."""
        if not rows.num_rows:
            return
        if table.is_withdrawing:
            rows = append(rows, WITHDRAWN, is_withdrawn)
        name = name_table(table, interval)
        self.open_table(name)
        self.link.insert(name_load(self.id, name), append(rows, VERSION, self.counter))

    def open_table(self, name: str) -> None:
        """Make the load's own table beside a main one, once."""
        if name not in self.tables:
            self.link.command(f"CREATE TABLE {name_load(self.id, name)} AS {name}")
            self.tables.append(name)

    def remove(self, symbols: Collection[str]) -> None:
        """Say that no row of these symbols holds any more, and that nothing is known of them."""
        self.counter += 1
        gone = [key for key in self.accounts if key[0] in symbols]
        for interval in sorted({interval for _, interval in gone}):
            names = sorted(symbol for symbol, each in gone if each == interval)
            for table in OF_INTERVAL:
                self.withdraw(table, interval, names)
        for key in gone:
            self.keep(Account(*key))

    def withdraw(self, table: Table, interval: str, symbols: Sequence[str]) -> None:
        name = name_table(table, interval)
        layers = self.view.list_layers(name)
        columns = join(table.schema.names[:-2])
        self.open_table(name)
        for layer in layers:
            for some in split_names(symbols):
                self.link.command(
                    f"INSERT INTO {name_load(self.id, name)} ({join(table.schema.names)}) SELECT"
                    f" {columns}, true, {{counter:UInt64}} FROM {layer} FINAL WHERE NOT"
                    f" {WITHDRAWN.name} AND symbol IN {{symbols:Array(String)}}",
                    {"counter": self.counter, "symbols": some},
                )

    def publish(self, lease: Lease) -> Published:
        """Make it visible. MinuteStoreError where another has the place of the writer by now."""
        self.counter += 1
        accounts = (self.accounts[key] for key in sorted(self.touched))
        self.insert(INSTRUMENTS, "", to_rows(accounts))
        self.insert(CHANGED, "", number_changes(self.told, self.counter))
        wanted = replace(
            self.view,
            generation=f"{self.counter}-{uuid4().hex[:8]}",
            kept_from=self.find_kept() if self.told else self.base.kept_from,
            step=self.base.step + 1,
        )
        names = ("counter", "generation", "load", "kept_from", "step")
        values = {name: getattr(wanted, name) for name in names}
        given = {**values, "tables": [*wanted.tables], "base": self.base.counter, "id": lease.id}
        self.link.command(PUBLISH, given)
        published = read_published(self.link)
        if published.generation != wanted.generation:
            raise MinuteStoreError(
                "nothing was published: this load was not heard of for too long, and another one"
                f" may write into {self.link.address.shown} now; load again"
            )
        attached = attach(self.link, published)
        if attached.kept_from > self.base.kept_from:
            values = {"kept_from": attached.kept_from}
            self.link.command(
                f"DELETE FROM {CHANGED.name} WHERE counter <= {{kept_from:UInt64}}", values
            )
        return attached

    def find_kept(self) -> int:
        """From where on changes stay: once there are twice as many as wanted, half of them go."""
        most = minutes.KEPT_CHANGES
        query = (
            f"SELECT counter FROM {CHANGED.name} WHERE counter > {self.base.kept_from} ORDER BY"
            f" counter DESC, number DESC LIMIT 1 OFFSET {{place:UInt64}}"
        )
        if not self.link.read(query, {"place": 2 * most}).num_rows:
            return self.base.kept_from
        counters = self.link.read(query, {"place": most})["counter"].to_pylist()
        return int(counters[0]) - 1

    def drop(self) -> None:
        drop_loads(self.link, [name_load(self.id, name) for name in self.tables])


def number_changes(told: Sequence[pa.Table], counter: int) -> pa.Table:
    """CHANGES of a generation."""
    rows = pa.concat_tables([TOLD.empty_table(), *told])
    numbers = pa.array(range(rows.num_rows), pa.int32())
    counters = pa.repeat(pa.scalar(counter, pa.int64()), rows.num_rows)
    numbered = rows.append_column("counter", counters).append_column("number", numbers)
    return numbered.select(CHANGES.names).cast(CHANGES)


def append(rows: pa.Table, field: pa.Field, value: object) -> pa.Table:
    return rows.append_column(field, pa.repeat(pa.scalar(value, field.type), rows.num_rows))


def prepare(link: Link, interval: str) -> None:
    """Make the main tables that are not there."""
    for table in OF_INTERVAL:
        link.command(write_ddl(table, interval))


def begin(link: Link) -> Published:
    """What is published, all of it in the main tables; what dead loads left is dropped."""
    published = attach(link, read_published(link))
    if not published.generation:
        for table in OF_STORE:
            link.command(write_ddl(table))
    drop_loads(link, list_loads(link))
    return published


def attach(link: Link, published: Published) -> Published:
    """Give the main tables the rows of the load; harmless where a load before did half of it."""
    if not published.load:
        return published
    for name in published.tables:
        source = name_load(published.load, name)
        for partition in list_partitions(link, source):
            link.command(f"ALTER TABLE {name} ATTACH PARTITION ID '{partition}' FROM {source}")
    link.command(ATTACHED, {"step": published.step})
    drop_loads(link, [name_load(published.load, name) for name in published.tables])
    return published.attached()


def list_partitions(link: Link, name: str) -> Iterator[str]:
    rows = link.read(f"SELECT DISTINCT _partition_id AS id FROM {name} ORDER BY id")
    yield from rows["id"].to_pylist()


def list_loads(link: Link) -> list[str]:
    query = (
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND"
        r" match(name, '^load_[0-9a-f]{12}_') ORDER BY name"
    )
    names: list[str] = link.read(query)["name"].to_pylist()
    return names


def drop_loads(link: Link, names: Iterable[str]) -> None:
    for name in names:
        try:
            # however large it is: the main tables have its rows, or nothing names it
            link.command(f"DROP TABLE IF EXISTS {name} SETTINGS max_table_size_to_drop = 0")
        except MissingTable:
            continue
