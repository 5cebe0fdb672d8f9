"""Every paid answer, as it came: data/archive/<vendor>/<symbol>/<name>.json.gz.

The rule it keeps: an answer is on the disk, whole, before anything is made of it, and is never
changed. A file's name tells all that the next run has to know, so that nothing is unpacked to
make a plan: number . fetched_at . dataset . date of the last bar (or "data", or "malformed").
Numbers only grow, whatever the clock does. A dataset bears the name that its vendor gives it, and
minutes their month behind it (BARS_1M_202611).
An answer of several pages has one file a page: all but the last are a "part", and the last one's
content says how many there are (2026-11-20-of-3). Parts that no last page follows are left alone.
"""

import gzip
import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from etl.base.errors import InputError
from etl.base.whole_files import flush_to_disk, read_bytes, write_whole
from etl.calls.vendor import MINUTES, find_month, name_month

STAMP = "%Y%m%dT%H%M%S%fZ"
NAME = re.compile(r"(\d{9,})\.(\d{8}T\d{12}Z)\.(\w+)\.([\w-]+)\.json\.gz")
MALFORMED = "malformed"
DATA = "data"
PART = "part"
OF = "-of-"


@dataclass(frozen=True, slots=True)
class Entry:
    """One archived page. `content`: the date of its last bar, "data", "malformed" or "part"."""

    folder: str  # of the symbol
    name: str
    symbol: str
    number: int
    stamp: str
    dataset: str
    content: str

    @property
    def path(self) -> Path:
        return Path(self.folder, self.name)

    @property
    def fetched_at(self) -> datetime:
        return read_stamp(self.stamp)

    @property
    def last_bar(self) -> date | None:
        day = self.content.partition(OF)[0]
        return date.fromisoformat(day) if day[:1].isdigit() else None

    @property
    def pages(self) -> int:
        """Of how many pages the answer is that ends with this one."""
        return int(self.content.partition(OF)[2] or 1)

    @property
    def is_part(self) -> bool:
        return self.content == PART

    @property
    def has_data(self) -> bool:
        return self.content != MALFORMED and not self.is_part


class Archive:
    """`latest`: (symbol, dataset) → its newest answer with data; `answered`: of any kind.

    `names`: how each dataset is written in a file's name. The names of all answers are read once,
    when it is opened; a file of none of these datasets is left alone.
    """

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        self.folder = folder
        self.names = names
        self.datasets = {name: dataset for dataset, name in names.items()}
        self.entries: dict[str, list[Entry]] = {}  # by folder, oldest first
        self.latest: dict[tuple[str, str], Entry] = {}
        self.answered: dict[tuple[str, str], Entry] = {}
        self.last_number = 0
        self.lock = threading.Lock()
        self.unfinished: list[Path] = []
        for found in list_folder(str(folder)):
            if found.is_dir():
                self.read_names(found)

    def read_names(self, folder: "os.DirEntry[str]") -> None:
        """Index the answers of one symbol, oldest first."""
        symbol = unquote(folder.name)
        for file in list_folder(folder.path):
            if entry := read_name(folder.path, file.name, symbol, self.datasets):
                self.index(entry)
            elif file.name.endswith(".next"):
                self.unfinished.append(Path(file.path))

    def index(self, entry: Entry) -> None:
        self.entries.setdefault(entry.folder, []).append(entry)
        self.last_number = max(self.last_number, entry.number)
        if entry.is_part:
            return
        key = (entry.symbol, entry.dataset)
        for table in (self.latest, self.answered):
            known = table.get(key)
            is_newer = known is None or known.number < entry.number
            if is_newer and (entry.has_data or table is self.answered):
                table[key] = entry

    def list_entries(self, after: int = 0, up_to: float = float("inf")) -> Iterator[Entry]:
        """The answers numbered from after + 1 to up_to, symbol by symbol, oldest first."""
        with self.lock:
            folders = sorted(self.entries.items())
        for _, entries in folders:
            yield from [e for e in entries if after < e.number <= up_to]

    def list_pages(self, last: Entry) -> list[Entry]:
        """The pages of the answer that ends with this one, in order. InputError: one is gone."""
        with self.lock:
            known = list(self.entries[last.folder])
        parts = [
            e for e in known if e.is_part and e.dataset == last.dataset and e.number < last.number
        ]
        wanted = last.pages - 1
        if len(parts) < wanted:
            raise InputError(f"{last.path}: pages before it are missing: put them back")
        return [*parts[len(parts) - wanted :], last]

    def sweep(self) -> None:
        """Take away what a killed run left half written. Only for who holds the lock."""
        for path in self.unfinished:
            path.unlink(missing_ok=True)

    def add(
        self, symbol: str, dataset: str, content: str, body: bytes, fetched_at: datetime
    ) -> Entry:
        """Keep one answer. Safe to call from several threads."""
        with self.lock:
            self.last_number += 1
            number = self.last_number
        folder = self.folder / name_folder(symbol)
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            flush_to_disk(folder.parent)
        stamp = fetched_at.astimezone(UTC).strftime(STAMP)
        written = write_dataset(dataset, self.names)
        name = f"{number:09d}.{stamp}.{written}.{content}.json.gz"
        with write_whole(folder / name) as next_path:
            next_path.write_bytes(gzip.compress(body, 6, mtime=0))
        entry = Entry(str(folder), name, symbol, number, stamp, dataset, content)
        with self.lock:
            self.index(entry)
        return entry


def read_body(entry: Entry) -> bytes:
    try:
        return gzip.decompress(read_bytes(entry.path))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{entry.path}: damaged ({error}): put it back, or move it away") from None


def name_folder(symbol: str) -> str:
    """The symbol, with what a file name cannot hold percent-encoded."""
    escaped = re.sub(r"[^\w.^=&$~\u0080-\U0010ffff-]", lambda m: quote(m[0], safe=""), symbol)
    return re.sub(r"^\.", "%2E", escaped)


def list_folder(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_name(folder: str, name: str, symbol: str, datasets: Mapping[str, str]) -> Entry | None:
    """What a file's name tells; None for a file that is none of ours, or was never finished."""
    match = NAME.fullmatch(name)
    if not match or not (dataset := read_dataset(match[3], datasets)):
        return None
    number, stamp, _, content = match.groups()
    entry = Entry(folder, name, symbol, int(number), stamp, dataset, content)
    try:
        is_date = content[:1].isdigit()
        is_whole = read_stamp(stamp) and entry.pages and (entry.last_bar or not is_date)
    except ValueError:
        return None
    return entry if is_whole else None


def write_dataset(dataset: str, names: Mapping[str, str]) -> str:
    month = find_month(dataset)
    return f"{names[MINUTES]}_{month:%Y%m}" if month else names[dataset]


def read_dataset(written: str, datasets: Mapping[str, str]) -> str:
    """The dataset that a file's name names; "" where it is none of these."""
    if written in datasets:
        return datasets[written]
    kind, _, month = written.rpartition("_")
    is_month = datasets.get(kind) == MINUTES and re.fullmatch(r"[12]\d{3}(0[1-9]|1[0-2])", month)
    return name_month(date(int(month[:4]), int(month[4:]), 1)) if is_month else ""


def read_stamp(stamp: str) -> datetime:
    """The instant in a file's name; strptime takes 20 times as long."""
    return datetime.fromisoformat(f"{stamp[:15]}.{stamp[15:21]}+00:00")
