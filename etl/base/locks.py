"""The lock that one writer, or many readers, of a data folder hold."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from etl.base.errors import LockedError
from etl.base.run_records import format_instant
from etl.base.whole_files import check_is_file


@contextmanager
def hold_lock(folder: Path, holder: str, is_shared: bool = False) -> Iterator[None]:
    """The one lock of a data folder; LockedError names who has it and since when.

    Those who only read share it. In a folder that they may not write to they need none: where no
    lock can be opened, nobody who has their rights writes.
    """
    path = folder / "etl.lock"
    check_is_file(path)
    try:
        file = path.open("a+")
    except OSError:
        if not is_shared:
            raise
        yield
        return
    with file:
        take_lock(file, folder, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{holder} (process {os.getpid()}, since {format_instant('seconds')})")
        file.flush()
        yield


def take_lock(file: IO[str], folder: Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "another run"
        raise LockedError(f"{who} holds the lock of {folder}: wait till it ends") from None
