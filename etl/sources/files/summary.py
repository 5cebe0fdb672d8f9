"""What was read of every file: one line each for people, JSON for programs."""

import json
import logging
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.base.instances import borrow
from etl.base.parquet_sql import quote
from etl.base.run_records import read_run_id
from etl.settings import Settings
from etl.sources.files.reading import Reading

log = logging.getLogger("etl")

FULL_LINES = 20  # so many files are told of one by one after a load; --check tells of all
FEW = 3
LEAST_ROWS = 8
DAYS_APART = 4.5
SPARSE = (
    "one row in {:.0f} days is kept as daily bars: if they are weekly, export daily ones instead"
)
BASIS = "set SOURCE_ADJUSTMENT=split if the prices are adjusted for splits, as Yahoo's are"


@dataclass
class Entry:
    """One table of a file. first, last: days as they were read. rejected: reason → how many."""

    file: str
    symbols: list[str] = field(default_factory=list)
    rows: int = 0
    actions: int = 0
    first: str | None = None
    last: str | None = None
    read_as: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refused: str | None = None
    rejected: dict[str, int] = field(default_factory=dict)
    example: str | None = None
    doubts: list[str] = field(default_factory=list)

    def count(self, table: pa.Table) -> None:
        """Take note of a batch of rows."""
        self.rows += table.num_rows
        found = (s.strip().upper() for s in table["symbol"].unique().to_pylist() if s)
        self.symbols = list(dict.fromkeys([*self.symbols, *found]))
        days = table["timestamp"].combine_chunks()
        is_day = pc.and_(pc.greater_equal(days, "0"), pc.less(days, ":"))
        bounds = pc.min_max(days.filter(pc.and_(is_day, pc.greater(pc.utf8_length(days), 7))))
        if bounds["min"].as_py():
            low, high = (as_day(bounds[name].as_py()) for name in ("min", "max"))
            self.first = min(filter(None, (self.first, low)))
            self.last = max(filter(None, (self.last, high)))

    @property
    def days_apart(self) -> float:
        """How far apart the rows of one instrument are; 0 where there are too few to tell."""
        if len(self.symbols) != 1 or self.rows < LEAST_ROWS:
            return 0
        try:
            first, last = (date.fromisoformat(day or "") for day in (self.first, self.last))
        except ValueError:
            return 0
        return (last - first).days / (self.rows - 1)

    def describe(self) -> str:
        """symbol, bars, first, last, how it was read, what was rejected."""
        if self.refused:
            return self.refused
        names = ", ".join(self.symbols[:FEW]) + (
            f" and {len(self.symbols) - FEW} more" if self.symbols[FEW:] else ""
        )
        rejected = sum(self.rejected.values())
        span = f" {self.first} to {self.last}" * bool(self.first)
        parts = [f"{say_count(self.rows - rejected, 'bar')}{span}"] * bool(
            self.rows or not self.actions
        )
        parts += [f"{self.actions} splits and dividends"] * bool(self.actions)
        parts += self.read_as
        parts += [f"{count:,} rejected: {reason}" for reason, count in self.rejected.items()]
        parts += [f"as {self.example}"] * bool(self.example)
        return f"{self.file}: {names or 'no symbol'}: {'; '.join(parts)}"

    def describe_fully(self) -> str:
        """The same with what is doubtful, for --check."""
        doubts = [*self.warnings, *self.doubts]
        if any("unrecorded split" in doubt for doubt in self.doubts):
            doubts.append(BASIS)
        return f"{self.describe()}{'; doubtful: ' * bool(doubts)}{'; '.join(doubts)}"


def say_count(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


def as_day(text: str) -> str:
    """2012-01-03 of 20120103 or of a text with a time behind it."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if text.isdigit() else text[:10]


class Summary:
    def __init__(self, passed_over: list[str]) -> None:
        self.passed_over = passed_over
        self.entries: list[Entry] = []

    def tell_passed_over(self, wanted: str) -> None:
        for label in self.passed_over[:FULL_LINES]:
            log.warning("%s: passed over: rename or convert it (taken are %s)", label, wanted)
        rest = len(self.passed_over) - FULL_LINES
        if rest > 0:
            log.warning("%s more files passed over: other kinds than %s", rest, wanted)

    def add(self, reading: Reading) -> Entry:
        entry = Entry(reading.label, read_as=reading.told, warnings=reading.warnings)
        self.entries.append(entry)
        for warning in reading.warnings:
            log.warning("%s: %s", reading.label, warning)
        return entry

    def warn_if_sparse(self, entry: Entry) -> None:
        """Weekly and monthly bars look like daily ones with holes."""
        if entry.days_apart >= DAYS_APART:
            entry.warnings.append(SPARSE.format(entry.days_apart))
            log.warning("%s: %s", entry.file, entry.warnings[-1])

    def add_refused(self, label: str, why: str) -> None:
        self.entries.append(Entry(label, refused=why))

    def add_rejected(self, path: Path, run_id: str) -> None:
        """How many rows of each file transform refused, with one of them as an example."""
        if read_run_id(path) != run_id:
            return
        by_file = {entry.file: entry for entry in self.entries}
        with borrow() as connection:
            rows = connection.execute(
                f"""SELECT file, reason, count(*), min(line), arg_min(concat_ws(',', symbol,
                    timestamp, open, high, low, close, volume), line)
                FROM read_parquet({quote(path)}) WHERE file IS NOT NULL GROUP BY ALL
                ORDER BY file, min(line)"""
            ).fetchall()
        for file, reason, count, line, cells in rows:
            if entry := by_file.get(file):
                entry.rejected[reason] = count
                entry.example = entry.example or f"{file}:{line}: {cells[:120]}"

    def tell(self, has_all: bool = False) -> None:
        """One line a file; after a load of many those alone of which there is more to say."""
        entries = self.entries
        if not has_all and len(entries) > FULL_LINES:
            entries = [e for e in entries if e.rejected or e.refused][:FULL_LINES]
        for entry in entries:
            tell = log.warning if entry.rejected or entry.refused else log.info
            tell("read %s", entry.describe())
        if len(entries) < len(self.entries):
            log.info("read %s files in all (--check tells of each)", len(self.entries))

    def as_record(self) -> dict[str, Any]:
        """For programs: every file, and what was passed over."""
        return {"files": [vars(e) for e in self.entries], "passed_over": self.passed_over}


def tell_read(source: object, settings: Settings, run_id: str, is_json: bool = False) -> None:
    """After a run: what was read of each file, where the source is files."""
    summary = getattr(source, "summary", None)
    if not isinstance(summary, Summary):
        return
    summary.add_rejected(settings.rejected_path, run_id)
    if is_json:
        print(json.dumps(summary.as_record(), indent=1))
    else:
        summary.tell()
