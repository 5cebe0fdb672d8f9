"""Every kind of file as one or more tables: an SQL that gives columns c0, c1 … of text, and heads.

What is not text is turned into such a table here: Parquet and Feather by DuckDB and pyarrow as
they stream, spreadsheets and JSON as a whole and so only up to a size.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from etl.base.errors import Malformed, SourceError
from etl.base.parquet_sql import quote
from etl.sources.files import answers
from etl.sources.files.find import is_readable
from etl.sources.files.headers import (
    Heads,
    Row,
    describe_missing,
    find_heads,
    has_bar_order,
    is_unread_header,
)
from etl.sources.files.symbols import read_name
from etl.sources.files.text import LONGEST_LINE, Rows, Text, read_text, unpack

MOST_SHEET_BYTES = 400 * 1024**2
MOST_JSON_BYTES = 64 * 1024**2
MOST_MEMBERS = 20_000
SHEET_ROWS = 60
BUFFER = 4 * LONGEST_LINE  # more than any line that check_lines lets pass


@dataclass(frozen=True)
class Table:
    """label: how messages name it. scan: the SQL. line: of the row above its first.

    symbol: whose bars they are, where the file itself says it. notes: what is to be told of it.
    not_daily: why its bars are none of days, where it says so itself; zone, stamp_is: of its stamps.
    exact: as scan, with instants in UTC where scan has the wall clock that names a session.
    """

    label: str
    scan: str
    heads: Heads
    delimiter: str = ""
    line: int = 0
    symbol: str | None = None
    notes: tuple[str, ...] = field(default=())
    rows: Rows | None = None  # all of it, where it is small
    width: int = 0  # of a text: its columns, with one more than the header names
    not_daily: str = ""
    zone: str = ""
    stamp_is: str = ""
    exact: str = ""


def open_tables(
    connection: duckdb.DuckDBPyConnection, path: Path, label: str, scratch: Path
) -> Iterator[Table | SourceError]:
    """The tables of a file; of a zip each member's, or the error that one of them is."""
    name = path.name.lower()
    if name.endswith(".zip"):
        yield from open_members(connection, path, label, scratch)
    elif name.endswith(".parquet"):
        yield scan_parquet(connection, path, label)
    elif name.endswith((".feather", ".arrow")):
        yield scan_feather(connection, path, label)
    elif name.endswith(".xlsx"):
        yield from read_workbook(connection, path, label)
    elif name.endswith((".json", ".json.gz")):
        yield from read_json_file(connection, path, label, scratch)
    else:
        yield scan_text(read_text(path, scratch / "text.csv", label), label)


def open_members(
    connection: duckdb.DuckDBPyConnection, path: Path, label: str, scratch: Path
) -> Iterator[Table | SourceError]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Malformed(f"{label}: damaged, or no zip file: {error}") from None
    with archive:
        members = [m for m in archive.infolist() if not m.is_dir() and not is_junk(m.filename)]
        if len(members) > MOST_MEMBERS:
            raise Malformed(f"{label}: {len(members)} members, taken are {MOST_MEMBERS}: unpack it")
        for member in members:
            yield from open_member(connection, archive, member, label, scratch)


def is_junk(name: str) -> bool:
    """What macOS and editors leave beside the files: __MACOSX, .DS_Store, ._AAPL.csv."""
    return "__MACOSX" in name or PurePosixPath(name).name.startswith((".", "~$"))


def open_member(
    connection: duckdb.DuckDBPyConnection,
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    label: str,
    scratch: Path,
) -> Iterator[Table | SourceError]:
    """A member as a file of its own; its path is never used but to name it."""
    inner = PurePosixPath(member.filename.replace("\\", "/"))
    named = f"{label}/{inner}"
    target = scratch / f"member{''.join(inner.suffixes[-2:])}"
    try:
        if inner.is_absolute() or ".." in inner.parts or ":" in inner.parts[0]:
            raise Malformed(f"{named}: a path that leads out of the zip: left out, pack it anew")
        if not is_readable(Path(inner.name)) or inner.name.lower().endswith(".zip"):
            raise Malformed(f"{named}: passed over, no kind of file that is read: unpack it")
        with archive.open(member) as file:
            unpack(file, target, member.compress_size, named)
        yield from open_tables(connection, target, named, scratch)
    except SourceError as error:
        yield error
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        yield Malformed(f"{named}: cannot be unpacked ({error}): unpack it yourself")
    finally:
        target.unlink(missing_ok=True)


def scan_text(text: Text, label: str) -> Table:
    width = max(text.width, len(text.heads.names) + 1)
    columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width))
    scan = (
        f"SELECT *, row_number() OVER () AS row FROM read_csv({quote(text.path)},"
        f" auto_detect = false, header = false, skip = {text.skip}, delim = {quote(text.delimiter)},"
        f""" quote = '"', escape = '"', columns = {{{columns}}}, null_padding = true,"""
        f" strict_mode = false, parallel = false, max_line_size = {LONGEST_LINE}, buffer_size = {BUFFER},"
        f" compression = 'none', encoding = 'utf-8')"
    )
    told = "" if text.encoding.startswith("utf-8") else f"text in {text.encoding}"
    notes = (told,) if told else ()
    heads, skip = text.heads, text.skip
    return Table(label, scan, heads, text.delimiter, skip, None, notes, text.rows, width)


def scan_parquet(connection: duckdb.DuckDBPyConnection, path: Path, label: str) -> Table:
    source = f"read_parquet({quote(path)}, hive_partitioning = false)"
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    zones = read_zones(pq.read_schema(path))
    return scan_columns(connection, source, [row[0] for row in described], zones, label)


def scan_feather(connection: duckdb.DuckDBPyConnection, path: Path, label: str) -> Table:
    import pyarrow.dataset as ds

    try:
        table: Any = ds.dataset(path, format="feather")
        schema = table.schema
    except (pa.ArrowInvalid, OSError):
        import pyarrow.feather as feather

        table = feather.read_table(path)  # of the first version, or a stream
        schema = table.schema
    connection.register("feather", table)
    return scan_columns(connection, "feather", schema.names, read_zones(schema), label)


def scan_columns(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    names: Sequence[str],
    zones: Mapping[str, str],
    label: str,
) -> Table:
    columns = pick_columns(names, zones)
    first = connection.execute(f"SELECT {columns} FROM {source} LIMIT 3").fetchall()
    heads = find_heads(names, first)
    if not heads:
        raise Malformed(refuse_heads(label, names))
    rest = f"row_number() OVER () AS row FROM {source}"
    exact = pick_columns(names, dict.fromkeys(zones, "UTC"))
    return Table(label, f"SELECT {columns}, {rest}", heads, exact=f"SELECT {exact}, {rest}")


def pick_columns(names: Sequence[str], zones: Mapping[str, str]) -> str:
    return ", ".join(f"{to_text(name, zones.get(name))} AS c{i}" for i, name in enumerate(names))


def refuse_heads(label: str, names: Sequence[str | None]) -> str:
    if missing := describe_missing(names):
        return f"{label}: {missing}: rename the column that holds it"
    shown = ", ".join(str(name) for name in names if name)[:160]
    return (
        f"{label}: no column for a date and open, high, low, close: rename its columns to"
        f" Date,Open,High,Low,Close,Volume (it has: {shown})"
    )


def to_text(header: str, zone: str | None) -> str:
    name = '"' + header.replace('"', '""') + '"'
    if zone:  # an instant with a zone: the wall clock there names the session
        mark = " || 'Z'" if zone.upper() in ("UTC", "ETC/UTC", "GMT", "+00:00") else ""
        return f"CAST(timezone({quote(zone)}, {name}) AS VARCHAR){mark}"
    return f"CAST({name} AS VARCHAR)"


def read_zones(schema: pa.Schema) -> dict[str, str]:
    """Column → time zone, which Parquet files keep where DuckDB does not look."""
    return {f.name: f.type.tz for f in schema if pa.types.is_timestamp(f.type) and f.type.tz}


def read_workbook(connection: duckdb.DuckDBPyConnection, path: Path, label: str) -> Iterator[Table]:
    """The first sheet with a header, or each of several that are named by their symbols.

    Numbers and dates come as text, formulas as last reckoned.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    check_workbook(path, label)
    tables = {}
    try:
        workbook = CalamineWorkbook.from_path(str(path))
        for index, name in enumerate(workbook.sheet_names):
            rows = workbook.get_sheet_by_name(name).to_python(skip_empty_area=False)
            cells = [[as_cell(c) for c in r] for r in rows]
            if table := tabulate(connection, cells, label, f"sheet_{index}"):
                tables[name] = table
    except (CalamineError, OSError, ValueError) as error:
        raise Malformed(
            f"{label}: no workbook that can be read: save it as CSV ({error})"
        ) from None
    if not tables:
        raise Malformed(
            f"{label}: no sheet ({', '.join(workbook.sheet_names)}) has a header with a date and"
            " prices: rename its columns to Date,Open,High,Low,Close,Volume"
        )
    taken = choose_sheets(tables, label)
    left = [name for name in workbook.sheet_names if name not in taken]
    for name, symbol in taken.items():
        told = f"sheet {name}" + (f"; not read: {', '.join(left)}" if left else "")
        yield replace(tables[name], symbol=symbol, notes=(told,))


def choose_sheets(tables: Mapping[str, Table], label: str) -> dict[str, str | None]:
    """Sheets to take, with their symbols where they name them and the workbook names none."""
    named = {
        name: symbol
        for name, table in tables.items()
        if "symbol" not in table.heads.columns and (symbol := read_name(name))
    }
    if len(tables) > 1 and len(named) == len(tables) and not read_name(label):
        return dict(named)
    return {next(iter(tables)): None}


def check_workbook(path: Path, label: str) -> None:
    """A workbook is a zip: what it unpacks to is known before it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise Malformed(f"{label}: damaged, or no .xlsx workbook: {error}") from None
    if size > MOST_SHEET_BYTES or size > max(path.stat().st_size, 4096) * 250:
        raise Malformed(f"{label}: unpacks to {size // 1024**2} MiB: save it as CSV")


def as_cell(value: Any) -> str | None:
    """A workbook's cell as text: whole numbers without .0, dates as ISO."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).upper()  # the symbol TRUE
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return str(int(value))
    return str(value).strip()


def read_json_file(
    connection: duckdb.DuckDBPyConnection, path: Path, label: str, scratch: Path
) -> Iterator[Table | SourceError]:
    if path.name.lower().endswith(".gz"):
        import gzip

        with gzip.open(path) as packed:
            unpack(packed, scratch / "answer.json", path.stat().st_size, label)
        path = scratch / "answer.json"
    if path.stat().st_size > MOST_JSON_BYTES:
        raise Malformed(
            f"{label}: JSON of over {MOST_JSON_BYTES // 1024**2} MiB: convert it to CSV or Parquet"
        )
    is_known = False
    for index, part in enumerate(answers.read_answer(path.read_bytes(), label)):
        if table := tabulate(connection, part.rows, label, f"json_{index}"):
            is_known = True
            said = {name: value for name, value in vars(part).items() if name != "rows"}
            yield replace(table, **said)
    if not is_known:
        raise Malformed(
            f"{label}: no list of bars with date, open, high, low, close in it:"
            " convert it to CSV with these columns"
        )


def tabulate(
    connection: duckdb.DuckDBPyConnection,
    rows: Sequence[Row],
    label: str,
    name: str = "sheet",
) -> Table | None:
    """Rows of text, a header among the first, as a table; None where there is no header."""
    for place, row in enumerate(rows[:SHEET_ROWS]):
        below = rows[place + 1 : place + 1 + SHEET_ROWS]
        heads = find_heads(row, below) if any(row) else None
        if any(is_unread_header(above, row) for above in rows[:place]):
            return None
        if not heads and place < 3 and any(row):
            heads = has_bar_order(row, rows[place : place + SHEET_ROWS])
        if heads:
            first = place + heads.lines
            width = max(len(r) for r in rows[place:])
            columns = {
                f"c{i}": pa.array([r[i] if i < len(r) else None for r in rows[first:]], pa.string())
                for i in range(width)
            }
            connection.register(name, pa.table(columns))
            scan = f"SELECT *, row_number() OVER () AS row FROM {name}"
            return Table(label, scan, heads, line=first)
    return None
