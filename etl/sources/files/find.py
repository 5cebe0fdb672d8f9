"""Which files a path means, and which ones below it are passed over."""

import glob
from dataclasses import dataclass, field
from pathlib import Path

TEXT_ENDINGS = (".csv", ".tsv", ".txt")
TABLE_ENDINGS = (".parquet", ".feather", ".arrow", ".xlsx", ".json")
ENDINGS = (*TEXT_ENDINGS, *TABLE_ENDINGS)
WANTED = ", ".join((*ENDINGS, ".gz of a text", ".zip"))
NAMES_FILE = "symbols.csv"  # file,symbol: whose bars a file holds, where its name does not say it


@dataclass(frozen=True)
class Found:
    """top: the folder that labels start from. passed_over: files of kinds that are not read."""

    top: Path
    paths: list[Path]
    passed_over: list[Path] = field(default_factory=list)
    names_files: list[Path] = field(default_factory=list)

    def label(self, path: Path) -> str:
        """How messages name a file: its path below the folder that was given."""
        return str(path.relative_to(self.top)) if path.is_relative_to(self.top) else str(path)


def find_files(path: Path) -> Found:
    """The files at a path: a file, all below a folder, or those that a glob names."""
    if path.is_file():
        beside = path.parent / NAMES_FILE
        return Found(path.parent, [path], names_files=[beside] if beside.is_file() else [])
    is_folder = path.is_dir()
    found = path.rglob("*") if is_folder else map(Path, glob.glob(str(path), recursive=True))
    files = sorted(p for p in found if p.is_file() and not is_hidden(p, path))
    names = [p for p in files if p.name.lower() == NAMES_FILE]
    others = [p for p in files if p not in names] if names else files
    taken = [p for p in others if is_readable(p)]
    left = [p for p in others if not is_readable(p)] if len(taken) < len(others) else []
    return Found(path if is_folder else find_top(path), taken, left, names)


def is_hidden(path: Path, top: Path) -> bool:
    """.DS_Store, ._AAPL.csv and the like, which no one made to be read; ~$ are Excel's locks."""
    return path.name.startswith((".", "~$")) and path != top


def find_top(pattern: Path) -> Path:
    """The deepest folder of a glob that has no wildcard."""
    parts = pattern.parts
    count = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return Path(*parts[:count])


def is_readable(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith((*ENDINGS, ".zip")) or (
        name.endswith(".gz") and name[:-3].endswith((*TEXT_ENDINGS, ".json"))
    )
