"""One table of cells as raw bars: what the whole columns say first, then every row by it.

Two selects do it: `cells` (fields of ours as they are written) and `rows` (the same fields read:
days as ISO, numbers with a decimal point, splits as ratios). What cannot be read stays as it is
written, for transform to refuse with a reason.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from etl.base.errors import Malformed
from etl.base.parquet_sql import quote
from etl.contracts.files import DAILY, PRICES, RAW_BARS
from etl.settings import Settings
from etl.sources.files import amounts, dates, symbols, times
from etl.sources.files.headers import choose_volume
from etl.sources.files.tables import Table

NUMBERS = (*PRICES, "volume", "adj_close", "dividend")
FIELDS = ("symbol", "date", *NUMBERS, "split")
SAME_SYMBOL = ("EQ", "BE", "BZ", "SM", "ST", "IL", "A", "B", "")  # series of shares themselves
DATE_ORDER = "set DATE_ORDER=MDY or DATE_ORDER=DMY"
ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
SHIFTED = " (a comma without quotes: more cells than the header names)"
SAME_NAME = re.compile(r"[^/=\s]+")
PLAIN_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
ROWS_SCHEMA = pa.schema(
    [*RAW_BARS, pa.field("split", pa.string()), pa.field("dividend", pa.string())]
)
BLANK = "coalesce(trim({}), '') = ''"


@dataclass
class Reading:
    """How a table was read: what is told of it beside its rows."""

    label: str
    rows: str = ""  # SQL
    table: pa.Table | None = None  # or the rows themselves, where nothing in them needs reading
    symbol: str | None = None
    order: str = ""
    days: str = ""
    manners: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    has_bars: bool = True
    actions: list[str] = field(default_factory=list)  # kinds that it has a column of


def read_table(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    settings: Settings,
    path: Path,
    override: str | None,
) -> Reading:
    reading = open_reading(table)
    if table.not_daily:
        raise Malformed(table.not_daily)
    fields = name_fields(connection, table, override, reading)
    reading.table = take_plain(table, settings, path, reading)
    if reading.table is not None:
        return reading
    if marked := mark_shifted(table):
        fields["open"] = marked
    cells = select_cells(table, fields)
    present = [n for n in NUMBERS if n in fields or n in list_wide(table)]
    shapes, odd = look_at_columns(connection, cells, present)
    decide_dates(connection, cells, table, settings, reading, shapes)
    decide_numbers(connection, cells, table, reading, odd)
    reading.actions = [k for k in ("split", "dividend") if k in fields or k in list_wide(table)]
    has_split = "split" in fields or "split" in list_wide(table)
    reading.rows = select_rows(cells, settings, path, reading, shapes, has_split)
    return reading


def open_reading(table: Table) -> Reading:
    """Malformed where nobody can say which of two columns holds the prices."""
    if table.heads.doubled:
        raise Malformed(
            f"{table.label}: two columns for {', '.join(table.heads.doubled)}: rename those of"
            " the other instrument, as Close_NVDA"
        )
    return Reading(table.label, told=list(table.notes), has_bars=table.heads.has_bars)


def take_plain(table: Table, settings: Settings, path: Path, reading: Reading) -> pa.Table | None:
    """The rows of a small table in which every date is ISO and every number plain.

    Most files are such, and many are small: to ask DuckDB costs ten times as much.
    """
    columns = dict(table.heads.columns)
    days, names = columns.pop("timestamp"), columns.pop("symbol", None)
    if table.delimiter == ";" and table.heads.is_day_first:
        return None
    if table.rows is None or table.heads.wide or table.heads.volumes or settings.symbols:
        return None
    if columns.keys() - {*PRICES, "volume", "adj_close"} or not table.rows:
        return None

    def get(place: int | None) -> list[str | None]:
        if place is None:
            return [None] * len(rows)
        return [row[place] or None if place < len(row) else None for _, row in rows]

    rows = table.rows
    named = len(table.heads.names) or table.width
    if any(len(row) > named and any(row[named:]) for _, row in rows):
        return None
    texts = {"timestamp": get(days), **{n: get(columns.get(n)) for n in (*PRICES, "volume")}}
    texts["adj_close"] = get(columns.get("adj_close"))
    texts["symbol"] = [reading.symbol] * len(rows) if reading.symbol else get(names)
    is_plain = (
        all(day and ISO_DAY.fullmatch(day) for day in texts["timestamp"])
        and all(name and SAME_NAME.fullmatch(name) for name in texts["symbol"])
        and all(
            number is None or PLAIN_NUMBER.fullmatch(number)
            for name in (*PRICES, "volume", "adj_close")
            for number in texts[name]
        )
    )
    if not is_plain:
        return None
    stamps = {
        "basis": settings.source_adjustment,
        "source": "files",
        "fetched_at": find_known(path, reading),
        "file": reading.label,
        "run_id": None,
        "interval": DAILY,
        "split": None,
        "dividend": None,
    }
    constants = {name: [value] * len(rows) for name, value in stamps.items()}
    lines = [line for line, _ in rows]
    return pa.table({**texts, **constants, "line": lines}, schema=ROWS_SCHEMA)


def list_wide(table: Table) -> set[str]:
    return {name for columns in table.heads.wide.values() for name in columns}


def name_fields(
    connection: duckdb.DuckDBPyConnection, table: Table, override: str | None, reading: Reading
) -> dict[str, str]:
    """Field of ours → SQL over the table's columns c0, c1 …"""
    columns = table.heads.columns
    fields = {name: f"c{place}" for name, place in columns.items()}
    time = [fields.pop("time")] if "time" in fields else []
    fields["date"] = dates.join_time(dates.as_text(fields.pop("timestamp")), time)
    if table.heads.wide:
        return fields
    series = fields.pop("series", None)
    fields["symbol"] = find_symbol(connection, table, fields.get("symbol"), override, reading)
    if series:
        fields["symbol"] = part_series(fields["symbol"], series)
    if "split_to" in fields and "split_from" in fields:
        fields["split"] = f"{fields.pop('split_to')} || ':' || {fields.pop('split_from')}"
    pick_volume(connection, table, fields, reading)
    return fields


def find_symbol(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    column: str | None,
    override: str | None,
    reading: Reading,
) -> str:
    """SQL of the symbol: as told, by the column, by a column of names, by the file's name."""
    if override:
        check_single(connection, table, column)
        reading.symbol = override
        return quote(override)
    if column:
        return column
    own = table.symbol or symbols.read_name(table.label)
    is_named = table.symbol is None
    if table.heads.name is not None:
        own = read_names(connection, table, own)
        if own is None:
            return f"c{table.heads.name}"
    if own is None:
        stem = Path(table.label).name
        raise Malformed(
            f"{table.label}: {stem} names no symbol, nor does a column: {symbols.RENAME}"
        )
    reading.symbol = own.strip().upper().replace("/", "-")
    plain = symbols.ENDING.sub("", Path(table.label).name)
    if is_named and plain.upper() != reading.symbol:
        reading.told.append(f"symbol {reading.symbol} from the name")
    return quote(reading.symbol)


def check_single(connection: duckdb.DuckDBPyConnection, table: Table, column: str | None) -> None:
    if column is None or table.heads.wide:
        return
    found = connection.execute(
        f"SELECT DISTINCT upper(trim({column})) FROM ({table.scan}) LIMIT 2"
    ).fetchall()
    if len(found) > 1:
        raise Malformed(f"{table.label}: holds several symbols: leave out --symbol for it")


def read_names(connection: duckdb.DuckDBPyConnection, table: Table, own: str | None) -> str | None:
    """The symbol of a table with a column of names; None where that column holds symbols.

    `Apple Inc.` beside a file AAPL.csv says nothing; names of several companies must not mix.
    """
    column = f"trim(c{table.heads.name})"
    names = [
        row[0]
        for row in connection.execute(
            f"SELECT DISTINCT {column} FROM ({table.scan}) WHERE {column} <> '' LIMIT 3"
        ).fetchall()
    ]
    # numbers are ids: 2781 is CoinMarketCap's for US dollars, in the files of all coins
    are_symbols = all(symbols.SYMBOL.fullmatch(n) and not n.isdigit() for n in names)
    if len(names) < 2:
        return own or (names[0] if names and are_symbols else None) or own
    if are_symbols:
        return None
    raise Malformed(
        f"{table.label}: holds several instruments ({', '.join(names)} …) and no column of"
        " symbols: write their symbols in a column Symbol"
    )


def part_series(symbol: str, series: str) -> str:
    """SQL: bonds and the like trade beside a share under one symbol, told apart by SERIES."""
    same = ", ".join(quote(name) for name in SAME_SYMBOL)
    word = f"upper(trim(coalesce({series}, '')))"
    return f"CASE WHEN {word} IN ({same}) THEN {symbol} ELSE trim({symbol}) || '-' || {word} END"


def pick_volume(
    connection: duckdb.DuckDBPyConnection, table: Table, fields: dict[str, str], reading: Reading
) -> None:
    """Of `Volume BTC` and `Volume USDT` the one in units of the instrument; tell of the others."""
    heads = table.heads
    place = None
    if heads.volumes:
        first = connection.execute(f"SELECT {fields['symbol']} FROM ({table.scan}) LIMIT 1")
        row = first.fetchall()
        place = choose_volume(heads, str(row[0][0]) if row else "")
        if place is not None:
            fields["volume"] = f"c{place}"
            reading.told.append(f"volume from {heads.names[place]}")
    spare = [n for n in heads.spare if place is None or n != heads.names[place]]
    if spare and heads.has_bars:
        reading.warnings.append(f"not taken: {', '.join(spare)}")
    if heads.has_bars and "volume" not in fields and not heads.volumes:
        reading.told.append("no volume")


def mark_shifted(table: Table) -> str | None:
    """SQL of the open, unreadable in rows with more cells than names; None where none can have.

    A comma within 1,234.50 or Mar 4, 2024 that no quotes enclose has shifted their cells.
    """
    named = len(table.heads.names)
    if not named or table.width <= named or table.heads.wide or not table.heads.has_bars:
        return None
    beyond = " OR ".join(f"trim(c{i}) <> ''" for i in range(named, table.width))
    place = f"c{table.heads.columns['open']}"
    return f"CASE WHEN {beyond} THEN concat({place}, {quote(SHIFTED)}) ELSE {place} END"


def select_cells(table: Table, fields: dict[str, str]) -> str:
    picked = ", ".join(f"{fields.get(name, 'NULL::VARCHAR')} AS {name}" for name in FIELDS)
    blank = " AND ".join(BLANK.format(fields[name]) for name in ("date", *PRICES) if name in fields)
    select = f"SELECT {picked}, row + {table.line} AS line FROM ({table.scan}) WHERE NOT ({blank})"
    return unfold(table, fields["date"]) if table.heads.wide else select


def unfold(table: Table, date: str) -> str:
    """A wide table as one row a symbol; a symbol that has no price on a day has no bar there."""
    names = [name for name in FIELDS if name not in ("symbol", "date")]
    packs = ", ".join(
        "{'symbol': "
        + quote(symbol)
        + "".join(
            f", '{name}': {f'c{columns[name]}' if name in columns else 'NULL::VARCHAR'}"
            for name in names
        )
        + "}"
        for symbol, columns in table.heads.wide.items()
    )
    some = " OR ".join(f"NOT ({BLANK.format('part.' + name)})" for name in PRICES)
    each = ", ".join(f"part.{name} AS {name}" for name in names)
    return (
        f"SELECT part.symbol AS symbol, date, {each}, line FROM (SELECT {date} AS date,"
        f" row + {table.line} AS line, unnest([{packs}]) AS part FROM ({table.scan})) WHERE {some}"
    )


def look_at_columns(
    connection: duckdb.DuckDBPyConnection, cells: str, present: list[str]
) -> tuple[dates.Order, dict[str, int]]:
    """One look at every cell: the shapes of the dates, and how many numbers are odd.

    Most files have plain ones alone: what else there is is only then looked for.
    """
    select = [*dates.COUNT_PLAIN, *amounts.count_odd(present)]
    row = connection.execute(f"SELECT {', '.join(select)} FROM ({cells})").fetchall()[0]
    odd = dict.fromkeys(NUMBERS, 0) | dict(zip(present, row[2:], strict=True))
    if row[0] == row[1]:
        return dates.Order(rows=row[0], plain=row[1]), odd
    shapes = ", ".join(dates.count_shapes("date"))
    return dates.Order(*connection.execute(f"SELECT {shapes} FROM ({cells})").fetchall()[0]), odd


def decide_dates(
    connection: duckdb.DuckDBPyConnection,
    cells: str,
    table: Table,
    settings: Settings,
    reading: Reading,
    shapes: dates.Order,
) -> None:
    decide_date_order(table, settings, reading, shapes)
    if not shapes.has_times:
        return
    reading.days, clock = times.decide_times(
        connection, cells, reading.order, times.find_zone(reading.symbol, settings.exchange)
    )
    if reading.days == "intraday":
        reading.warnings.append(
            "several rows a day, or times of day that differ: these are intraday bars, which"
            " `make minutes` loads; wanted are daily ones, one row a day (EXCHANGE names the clock"
            " of times in UTC)"
        )
    elif clock:
        reading.told.append(f"time of day {clock.usual} {clock.zone or ''} names the day".strip())
    reading.days = f"{reading.days} {clock.zone or ''}".strip() if clock else reading.days


def decide_date_order(
    table: Table, settings: Settings, reading: Reading, shapes: dates.Order
) -> None:
    declared = settings.date_order
    reading.order = dates.decide_order(shapes, declared, table.heads.is_day_first)
    if shapes.open and reading.order in ("", dates.UNSURE):
        both = " and days first elsewhere" if shapes.days_first and shapes.months_first else ""
        reading.warnings.append(
            f"{shapes.open} dates may begin with the day or the month{both}: {DATE_ORDER}"
        )
    elif shapes.short and reading.order == dates.UNSURE:
        reading.warnings.append("years of two digits may come first: set DATE_ORDER=YMD")
    if shapes.open and reading.order in dates.ORDERS:
        reading.told.append(f"dates read as {reading.order}")


def may_be_thousands(connection: duckdb.DuckDBPyConnection, cells: str, table: Table) -> bool:
    """Three digits behind the point of every price, where commas are what decimals have."""
    if table.delimiter != ";" or not table.heads.is_day_first or not table.heads.has_bars:
        return False
    prices = "[open, high, low, close]"
    is_group = (
        f"list_bool_and([regexp_full_match(trim(x), '{amounts.ONE_GROUP}') FOR x IN {prices}])"
    )
    rows = connection.execute(f"SELECT bool_and({is_group}) FROM ({cells})").fetchall()
    return bool(rows[0][0])


def decide_numbers(
    connection: duckdb.DuckDBPyConnection,
    cells: str,
    table: Table,
    reading: Reading,
    odd: dict[str, int],
) -> None:
    if not any(odd.values()):
        reading.manners = dict.fromkeys(NUMBERS, "plain")
        if may_be_thousands(connection, cells, table):
            reading.manners.update(dict.fromkeys(PRICES, "comma"))
            reading.warnings.append(
                "all prices are like 14.860, which may be thousands: write them as 14860 or 14.86"
            )
        return
    counts = ", ".join(amounts.count_signs(NUMBERS))
    bodies = amounts.add_bodies(cells, NUMBERS)
    row = connection.execute(f"SELECT {counts} FROM ({bodies})").fetchall()[0]
    signs = {
        name: amounts.Signs(odd[name], row[2 * i], row[2 * i + 1]) for i, name in enumerate(NUMBERS)
    }
    reading.manners = amounts.decide_commas(signs, table.delimiter)
    if "comma" in reading.manners.values():
        reading.told.append("decimal commas")
    if "mixed" in reading.manners.values():
        mixed = ", ".join(n for n, m in reading.manners.items() if m == "mixed")
        reading.warnings.append(
            f"commas and points both look decimal in {mixed}: cells with two readings are refused;"
            " write them in one way"
        )


def select_rows(
    cells: str,
    settings: Settings,
    path: Path,
    reading: Reading,
    shapes: dates.Order,
    has_split: bool,
) -> str:
    """The raw bars, with the values of their actions beside."""
    picked = ", ".join(
        f"{amounts.read_number(name, reading.manners[name])} AS {name}" for name in NUMBERS
    )
    if odd := [name for name in NUMBERS if reading.manners[name] != "plain"]:
        cells = amounts.add_bodies(cells, odd)
    if shapes.plain != shapes.rows:
        cells = dates.add_stamps(cells, reading.order)
    known = f"TIMESTAMP {quote(str(find_known(path, reading)))}"
    rows = (
        f"SELECT {'symbol' if reading.symbol else read_symbol('symbol')} AS symbol,"
        f" {read_day(reading, shapes)} AS timestamp, {picked},"
        f" {read_split('split') if has_split else 'split'} AS split, {quote(settings.source_adjustment)} AS basis,"
        f" 'files' AS source, NULL::VARCHAR AS run_id, {known} AS fetched_at,"
        f" {quote(reading.label)} AS file, line, '{DAILY}' AS interval FROM ({cells})"
    )
    return pick_symbols(rows, settings)


def pick_symbols(rows: str, settings: Settings) -> str:
    if settings.symbols is None:
        return rows
    wanted = ", ".join(quote(symbol) for symbol in settings.symbols)
    return f"SELECT * FROM ({rows}) WHERE upper(trim(symbol)) IN ({wanted})"


def find_known(path: Path, reading: Reading) -> datetime:
    """Since when the values are known: a file's own time, so that a copied older file stays older.

    A time to come would shut the symbol for every later file: it counts as now.
    """
    now = datetime.now(UTC).replace(tzinfo=None)
    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
    if modified > now:
        reading.warnings.append(
            f"modified in the future ({modified:%Y-%m-%d}): taken as of now; touch the file"
        )
    return min(modified, now)


def read_symbol(column: str) -> str:
    """SQL: BTC/USDT is BTC-USDT, ="005930" is 005930; all else as it is."""
    bare = f"""regexp_replace({column}, '^\\s*="?|"\\s*$', '', 'g')"""
    return f"""CASE WHEN contains({column}, '/') OR contains({column}, '=')
        THEN CASE WHEN regexp_full_match(trim({column}), '[A-Za-z0-9.]+/[A-Za-z0-9.]+')
            THEN replace({column}, '/', '-')
            WHEN starts_with(trim({column}), '="') THEN {bare} ELSE {column} END
        ELSE {column} END"""


def read_day(reading: Reading, shapes: dates.Order) -> str:
    """SQL: the day of a row as ISO text; a time of day that says more than the day stays."""
    if shapes.plain == shapes.rows:
        return "date"
    if reading.days == "intraday":
        return "coalesce(CAST(stamp AS VARCHAR), date)"
    manner, _, zone = reading.days.partition(" ")
    stamp = f"timezone('{zone}', timezone('UTC', stamp))" if zone else "stamp"
    if manner == "daily":
        return f"coalesce(strftime({stamp}, '%Y-%m-%d'), date)"
    # what transform reads in the same way is handed on as it came
    same = (
        "WHEN date LIKE '____-__-__%' OR regexp_full_match(date, '\\d{8}') THEN date"
        if not manner
        else ""
    )
    return f"""CASE {same} WHEN {stamp} = date_trunc('day', {stamp})
        THEN strftime({stamp}, '%Y-%m-%d') ELSE coalesce(CAST({stamp} AS VARCHAR), date) END"""


def read_split(column: str) -> str:
    """SQL: 4:1, 4/1, 4-for-1, 1/10 or a factor as new shares for one old; NULL where there is none."""
    number = r"(\d+(?:[.,]\d+)?)"
    form = rf"\s*{number}\s*(?::|/|-?for-?| for | zu )\s*{number}\s*"
    new, old = (
        f"try_cast(replace(regexp_extract(lower({column}), '^{form}$', {i}), ',', '.') AS DOUBLE)"
        for i in (1, 2)
    )
    factor = f"try_cast(replace({column}, ',', '.') AS DOUBLE)"
    return f"""CASE
        WHEN {BLANK.format(column)} OR lower(trim({column})) IN ('-', 'nan', 'null', 'none') THEN NULL
        WHEN {factor} IN (0, 1) THEN NULL
        WHEN {factor} IS NOT NULL THEN replace({column}, ',', '.')
        WHEN regexp_full_match(lower({column}), '{form}')
            THEN CASE WHEN {new} = {old} THEN NULL ELSE CAST({new} / nullif({old}, 0) AS VARCHAR) END
        ELSE {column} END"""


def select_lists(rows: str, kinds: list[str]) -> str:
    """SQL: that a column of actions tells of all the days of the bars; see clean_actions."""
    listed = ", ".join(f"'{kind}s'" for kind in kinds)
    return f"""
        SELECT DISTINCT symbol, NULL::VARCHAR AS ex_date, unnest([{listed}]) AS kind,
               'days' AS value, source, run_id, fetched_at FROM ({rows})"""


def select_actions(rows: str) -> str:
    """SQL: the corporate actions in rows; what cannot be read as a number is not dropped here."""
    nothing = "lower(trim({0})) IN ('', '-', 'nan', 'null', 'none', 'n/a')"
    dividend = (
        f"NOT ({nothing.format('dividend')}) AND coalesce(try_cast(dividend AS DOUBLE), 1) <> 0"
    )
    both = " UNION ALL ".join(
        f"SELECT symbol, timestamp AS ex_date, '{kind}' AS kind, {kind} AS value, source, run_id,"
        f" fetched_at FROM rows WHERE {kind} IS NOT NULL AND {condition}"
        for kind, condition in (("split", "true"), ("dividend", dividend))
    )
    return f"WITH rows AS ({rows}) {both}"
