"""What is published: the files of a generation, as minutes/current.json has them."""

import json
import re
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from etl.base.whole_files import write_whole
from etl.contracts.minutes import BASE_INTERVALS, MinuteStoreError

CURRENT = "current.json"
NAME = re.compile(r"(?:index|live|changes|\d{4}-\d{2})\.\d{1,15}\.duckdb")


@dataclass(frozen=True)
class PublishedFile:
    """name: below the folder of the store. sha256: of the whole file, of `size` bytes. appended:
    how many of a month's bars are behind the sorted ones."""

    name: str
    size: int
    sha256: str
    appended: int = 0

    @property
    def counter(self) -> int:
        """Of the generation that brought it."""
        return int(self.name.split(".")[-2])


@dataclass(frozen=True)
class Manifest:
    """months: interval → month ("2024-03") → its file. live: what live batches brought, and the
    newest changes; changes: files of older ones, oldest first; behind the counter changes_from none
    is missing. previous: the generation before."""

    generation: str = ""
    published_at: datetime = datetime.min  # noqa: DTZ901 (naive UTC, as all instants of a store)
    index: PublishedFile | None = None
    months: dict[str, dict[str, PublishedFile]] | None = None
    live: PublishedFile | None = None
    changes: tuple[PublishedFile, ...] = ()
    changes_from: int = 0
    previous: "Manifest | None" = None

    @property
    def counter(self) -> int:
        return int(self.generation.partition("-")[0] or 0)

    def of_interval(self, interval: str) -> dict[str, PublishedFile]:
        return (self.months or {}).get(interval, {})

    def list_files(self) -> list[PublishedFile]:
        """All files of this generation, and not of the one before."""
        months = [file for each in (self.months or {}).values() for file in each.values()]
        beside = [file for file in (self.index, self.live) if file]
        return [*beside, *self.changes, *months]


def read_manifest(folder: Path) -> Manifest:
    """What is published; an empty one where nothing ever was. MinuteStoreError where it cannot be
    read, or is gone."""
    path = folder / CURRENT
    try:
        return parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        # *.next.duckdb is of a writer under way, or one that was killed
        published = (path for path in folder.glob("*/*.duckdb") if NAME.fullmatch(path.name))
        if found := next(published, None):
            raise MinuteStoreError(
                f"{path} is gone, and {found.relative_to(folder)} is there: put it back, or move"
                f" {folder} away and load again"
            ) from None
        return Manifest()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is none of ours"
        raise MinuteStoreError(
            f"{path} cannot be read ({reason}): put it back, or move {folder} away and load again"
        ) from None


def parse(found: dict[str, Any]) -> Manifest:
    months = {
        interval: {month: parse_file(file) for month, file in sorted(files.items())}
        for interval, files in found["months"].items()
    }
    if set(months) - set(BASE_INTERVALS):
        raise ValueError
    return Manifest(
        found["generation"],
        datetime.fromisoformat(found["published_at"]),
        parse_file(found["index"]) if found["index"] else None,
        months,
        parse_file(found["live"]) if found["live"] else None,
        tuple(map(parse_file, found["changes"])),
        int(found["changes_from"]),
        parse(found["previous"]) if found["previous"] else None,
    )


def parse_file(found: dict[str, Any]) -> PublishedFile:
    file = PublishedFile(**found)
    if not NAME.fullmatch(Path(file.name).name) or Path(file.name).is_absolute():
        raise ValueError
    return file


def write_manifest(folder: Path, manifest: Manifest, before: Manifest) -> None:
    """Publish: from the moment of this rename on, readers find the files of `manifest`."""
    kept = replace(before, previous=None) if before.generation else None
    told = asdict(replace(manifest, months=manifest.months or {}, previous=kept))
    with write_whole(folder / CURRENT) as path:
        path.write_text(json.dumps(told, indent=1, default=datetime.isoformat))
