"""Which engine keeps the minutes: MINUTE_STORE chooses it, and nothing of another is imported."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

from etl.contracts.minutes import MinuteStore, MinuteStoreError
from etl.credentials.redaction import remember
from etl.settings import Shared

MEMORY_MB = 512  # of the DuckDB that compares what comes, and of the one that reads files


@dataclass(frozen=True)
class Place:
    """Where one store is. url: as MINUTE_STORE; "": DuckDB files in the data folder."""

    data_dir: Path
    url: str = ""
    password: str = ""
    memory_mb: int = MEMORY_MB

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    def read_password(self) -> str:
        """The one in the URL, else the one beside it."""
        return unquote(urlsplit(self.url).password or "") or self.password

    def __str__(self) -> str:
        """The place as messages tell it, without user and password."""
        if not self.url:
            return str(self.data_dir / "minutes")
        before, _, parameters = self.url.partition("://")[2].partition("?")
        # of a password that was not escaped any character may be taken for one of the address
        shown = "" if "@" in parameters else before.rpartition("@")[2]
        return f"{self.scheme}://{shown}"


# Scheme → the module of the engine, which has `open_store(place) -> MinuteStore`.
ENGINES = {
    "": "duckdb_files",
    "clickhouse": "clickhouse",
    "clickhouses": "clickhouse",
    "chdb": "clickhouse",
    "postgresql": "postgresql",
    "postgres": "postgresql",
}


def open_minutes(settings: Shared, memory_mb: int = MEMORY_MB) -> MinuteStore:
    """The store that MINUTE_STORE names. No server is asked before the store is."""
    password = settings.minute_store_password.value if settings.minute_store else ""
    return open_place(Place(settings.data_dir, settings.minute_store, password, memory_mb))


def open_place(place: Place) -> MinuteStore:
    """MinuteStoreError for an engine that is none, or whose client is not installed."""
    remember((place.read_password(),))
    if place.scheme not in ENGINES:
        raise MinuteStoreError(
            f"{place} is no store of minutes: wanted one of"
            f" {', '.join(f'{scheme}://' for scheme in ENGINES if scheme)}, or nothing"
        )
    name = f"{__package__}.{ENGINES[place.scheme]}"
    try:
        open_store: Callable[[Place], MinuteStore] = import_module(name).open_store
        return open_store(place)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise MinuteStoreError(f"{place}: this version has no such engine") from None
        raise MinuteStoreError(
            f"{place} wants the package {error.name}: pip install -r {find_requirements(place)}"
            " -c constraints.txt"
        ) from None


def find_requirements(place: Place) -> str:
    """The file that names the client of its engine; the engine itself is for tests, as chdb is."""
    engine = "engines" if place.scheme == "chdb" else ENGINES[place.scheme]
    return f"requirements-{engine}.txt"
