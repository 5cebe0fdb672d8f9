"""A text file's encoding, delimiter and header row, found once from its first part.

Whatever is not UTF-8, or is packed, is first written to a scratch file as UTF-8, so that DuckDB
reads every text in one way, with nothing left for it to guess.
"""

import codecs
import csv
import gzip
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from etl.base.errors import Malformed
from etl.sources.files.headers import (
    ASIAN,
    Heads,
    describe_missing,
    find_heads,
    has_bar_order,
    is_unread_header,
)

HEAD_BYTES = 128 * 1024
HEAD_ROWS = 400
LONGEST_LINE = 1024 * 1024
BLOCK = 1024 * 1024
# What no price file reaches: real ones pack to a fifth to a twentieth of their size.
MOST_BYTES = 8 * 1024**3
MOST_RATIO = 250
DELIMITERS = (",", ";", "\t", "|")
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


Rows = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class Text:
    """How a text is read. skip: lines above the first bar. width: its most columns.

    rows: (line, cells) of all its rows, where it is so small that they were all looked at.
    """

    path: Path
    encoding: str
    delimiter: str
    skip: int
    width: int
    heads: Heads
    rows: Rows | None = None


def read_text(path: Path, scratch: Path, label: str) -> Text:
    """The layout of a text file; `scratch` is written where DuckDB could not read `path` itself."""
    if path.name.lower().endswith(".gz"):
        with path.open("rb") as packed, gzip.open(packed) as file:
            unpack(file, scratch, path.stat().st_size, label)
        path = scratch
    encoding = find_encoding(path, label)
    if encoding not in ("utf-8", "utf-8-sig"):
        rewritten = scratch.with_name(scratch.name + ".utf8")
        rewrite(path, rewritten, encoding, label)
        rewritten.replace(scratch)
        path = scratch
    check_lines(path, label)
    return find_layout(path, encoding, label)


def check_lines(path: Path, label: str) -> None:
    """Malformed where a line is so long that it fills a block.

    DuckDB leaves out a last line that is longer than its buffer, without a word.
    """
    if path.stat().st_size < LONGEST_LINE:
        return
    with path.open("rb") as file:
        while len(block := file.read(LONGEST_LINE)) == LONGEST_LINE:
            if b"\n" not in block and b"\r" not in block:
                raise Malformed(
                    f"{label}: a line of over {LONGEST_LINE // 1024**2} MiB: not a CSV file of bars"
                )


def unpack(file: IO[bytes] | gzip.GzipFile, target: Path, packed: int, label: str) -> None:
    """Copy what is unpacked, but no bomb."""
    size = 0
    most = min(MOST_BYTES, max(packed, 4096) * MOST_RATIO)
    try:
        with target.open("wb") as copy:
            while block := file.read(BLOCK):
                size += len(block)
                if size > most:
                    raise Malformed(
                        f"{label}: unpacks to more than {MOST_RATIO} times its size, as no prices"
                        " do: unpack it yourself if it is sound"
                    )
                copy.write(block)
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise Malformed(
            f"{label}: damaged, or no {target.suffix or 'gzip'} file: {error}"
        ) from None


def find_encoding(path: Path, label: str) -> str:
    """By its mark, else UTF-8 if all of it is, else what charset-normalizer takes it for."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        for mark, encoding in MARKS:
            if head.startswith(mark):
                return encoding
        if b"\0" in head:
            return find_wide(head, label)
        if head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0", b"%PDF")):
            raise Malformed(f"{label}: packed or a document, not a text: rename it by its kind")
        foreign = find_foreign(head, file)
    return guess_encoding(foreign) if foreign else "utf-8"


def find_wide(head: bytes, label: str) -> str:
    """UTF-16 without a mark has a zero in every second byte."""
    if head[1::2].count(0) > len(head) * 0.4:
        return "utf-16-le"
    if head[::2].count(0) > len(head) * 0.4:
        return "utf-16-be"
    raise Malformed(f"{label}: binary, not a text: export it as CSV")


def find_foreign(head: bytes, file: IO[bytes]) -> bytes | None:
    """The first block that is not UTF-8; None where all of it is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = head
    while True:
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            return block or head[-16:]
        if not block:
            return None
        block = file.read(BLOCK)


def guess_encoding(block: bytes) -> str:
    from charset_normalizer import from_bytes

    lines = b"\n".join([line for line in block.split(b"\n") if not line.isascii()][:50])
    if asian := find_asian(lines):
        return asian
    best = from_bytes(lines, cp_isolation=["cp1252", "cp1250", "cp1251"]).best()
    return best.encoding if best else "cp1252"


def find_asian(lines: bytes) -> str | None:
    """The encoding in which words of a header stand there, where one byte is no letter."""
    words = {word for group in ASIAN.values() for word in group.split() if len(word) > 1}
    for encoding in ("gb18030", "shift_jis", "euc_kr", "big5"):
        try:
            text = lines.decode(encoding)
        except UnicodeDecodeError:
            continue
        if any(word in text for word in words):
            return encoding
    return None


def rewrite(path: Path, target: Path, encoding: str, label: str) -> None:
    # errors: bytes that the code page does not have are kept as what no reader takes for a digit
    is_wide = encoding.startswith("utf-16")
    try:
        with (
            path.open(
                encoding=encoding, errors="strict" if is_wide else "replace", newline=""
            ) as f,
            target.open("w", encoding="utf-8", newline="") as copy,
        ):
            shutil.copyfileobj(f, copy, BLOCK)
    except UnicodeError as error:
        raise Malformed(f"{label}: not sound {encoding}: save it as UTF-8 ({error})") from None


def find_layout(path: Path, encoding: str, label: str) -> Text:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        is_whole = not file.read(1)
    text = head.decode("utf-8-sig", "ignore")
    if not text.strip():
        raise Malformed(f"{label}: empty")
    if not is_whole and "\n" not in text and "\r" not in text:
        raise Malformed(f"{label}: a first line of over {HEAD_BYTES // 1024} KiB: not a CSV file")
    if text.lstrip()[:1] == "<" and text.lstrip()[1:5].lower() in ("!doc", "html", "?xml"):
        raise Malformed(f"{label}: a web page, not prices: download the CSV itself")
    layouts: list[Text] = []
    for delimiter in list_delimiters(text):
        if layout := try_delimiter(path, encoding, text, delimiter, is_whole):
            layouts.append(layout)
            if layout.heads.lines and layout.heads.has_bars:
                break
    if not layouts:
        raise Malformed(describe_failure(text, label))
    return max(layouts, key=lambda layout: layout.heads.score)


def list_delimiters(text: str) -> tuple[str, ...]:
    """All that may be; the one that a first line `sep=;` names, where there is one."""
    first = text.split("\n", 1)[0].strip().strip('"')
    if first.lower().startswith("sep=") and len(first) == 5:
        return (first[4:],)
    return tuple(delimiter for delimiter in DELIMITERS if delimiter in text)


def try_delimiter(
    path: Path, encoding: str, text: str, delimiter: str, is_whole: bool
) -> Text | None:
    rows = list(read_rows(text, delimiter, is_whole))
    width = max((len(row) for _, row in rows), default=0)
    for place, (end, row) in enumerate(rows[:120]):
        below = [cells for _, cells in rows[place + 1 : place + 5]]
        if heads := find_heads(row, below):
            skip = rows[place + heads.lines - 1][0] if heads.lines > 1 else end
            small = rows[place + heads.lines :] if is_whole and len(rows) < HEAD_ROWS else None
            return Text(path, encoding, delimiter, skip, max(width, 2), heads, small)
    for place, (_, row) in enumerate(rows[:40]):
        if any(is_unread_header(above, row) for _, above in rows[:place]):
            break
        if heads := has_bar_order(row, [cells for _, cells in rows[place : place + 100]]):
            return Text(path, encoding, delimiter, rows[place - 1][0] if place else 0, width, heads)
    return None


def read_rows(text: str, delimiter: str, is_whole: bool) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, cells) of the first rows; the last may be cut and is left out."""
    # every line end as DuckDB counts them
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = lines if is_whole else lines[:-1]
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
    try:
        for row in reader:
            if row and any(cell.strip() for cell in row):
                yield reader.line_num, row
            if reader.line_num >= HEAD_ROWS + 20:
                return
    except csv.Error:
        return


def describe_failure(text: str, label: str) -> str:
    for delimiter in list_delimiters(text):
        for _, row in read_rows(text, delimiter, True):
            if missing := describe_missing(row):
                return f"{label}: {missing}: rename the column that holds it"
    shown = ", ".join(cell for _, row in read_rows(text, ",", True) for cell in row)[:160]
    return (
        f"{label}: no header with a date and open, high, low, close: rename its columns to"
        f" Date,Open,High,Low,Close,Volume (it begins: {shown})"
    )
