"""Every setting of the ETL, declared once: name, default, meaning, type.

Environment beats `.env` beats default; an empty value means the default. A secret has more origins:
see etl.credentials. Beside that this module imports nothing of ours, so that the API can read from
it where the database is.
"""

import ipaddress
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values

from etl.credentials.errors import SettingsError
from etl.credentials.names import ALIASES, SECRETS, is_secret, list_files
from etl.credentials.origins import Origins
from etl.credentials.redaction import remember, strike
from etl.credentials.secret import Secret

__all__ = ["Secret", "Settings", "SettingsError", "Shared", "declare", "read_settings"]

VERSION = (
    "1.1.0"  # of the whole service: in the API, its documentation and every ETag; see CHANGELOG.md
)
PROJECT_ROOT = Path(__file__).resolve().parents[1]
REDIS_SCHEMES = ("redis", "rediss", "unix")
MINUTE_SCHEMES = ("clickhouse", "clickhouses", "chdb", "postgresql", "postgres")
ENV_FILE = PROJECT_ROOT / ".env"

SOURCES = ("sample", "alpha_vantage", "alpaca", "massive", "files")
READ_SOURCES = ("sample", "files")  # read whole in each run; the others are asked, and archived
AV = "alpha_vantage"
BASES = ("raw", "split")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
NO_SYMBOL = " /\\?#%;|\"'`<>()[]{}*!"
SYMBOLS_BYTES = 4 << 20
DEFAULT_SYMBOLS = {
    "sample": ("AAPL", "GOOG", "IBM", "MSFT", "FB"),
    **dict.fromkeys(
        ("alpha_vantage", "alpaca", "massive"), ("AAPL", "GOOGL", "IBM", "MSFT", "META")
    ),
    "files": None,
}


def declare(name: str, default: str, help: str, parse: Callable[[str], object]) -> Any:
    """A dataclass field that is read from the setting `name`."""
    return field(metadata={"name": name, "default": default, "help": help, "parse": parse})


def declare_secret(name: str, help: str) -> Any:
    """A dataclass field that is a Secret: it may come from a file or the vault, and change."""
    metadata = {"name": name, "default": "", "help": help, "parse": None}
    return field(metadata=metadata, compare=False)


def to_path(text: str) -> Path:
    """A relative path starts at the project root."""
    try:
        return check_path(PROJECT_ROOT / Path(text).expanduser())
    except RuntimeError:  # ~ of a user who does not exist
        raise ValueError("a path") from None


def to_data_dir(text: str) -> Path:
    if "?" in text:  # DuckDB takes it for the query of a URL, and loses its log beside the file
        raise ValueError("a path without ?")
    return to_path(text)


def check_path(path: Path) -> Path:
    """The path; ValueError if it is only bytes to this process, which DuckDB cannot be told."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(
            "a path that is text in this locale: set LC_ALL=C.UTF-8 and unset PYTHONUTF8"
        ) from None
    return path


def to_optional_path(text: str) -> Path | None:
    return to_path(text) if text else None


def to_date(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("a date like 2012-01-31") from None


def to_choice(*choices: str, is_upper: bool = False) -> Callable[[str], str]:
    def parse(text: str) -> str:
        value = text.upper() if is_upper else text.lower()
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return value

    return parse


def to_sources(text: str) -> tuple[str, ...]:
    """One source, or several vendors; () when empty."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    found = tuple(dict.fromkeys(to_choice(*SOURCES)(part) for part in parts))
    if alone := [name for name in found if name in READ_SOURCES and len(found) > 1]:
        raise ValueError(f"one source, or vendors parted by commas; {alone[0]} stands alone")
    return found


def to_number(least: float, unit: str = "") -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise ValueError(f"a number of {least:g} or more{unit}")
        return value

    return parse


def to_integer(least: int, most: int = 2**31) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def to_optional_integer(least: int) -> Callable[[str], int | None]:
    return lambda text: to_integer(least)(text) if text else None


def to_flag(text: str) -> bool:
    if text.lower() not in ("on", "off", "true", "false", "1", "0", "yes", "no"):
        raise ValueError("on or off")
    return text.lower() in ("on", "true", "1", "yes")


def to_symbols(text: str) -> tuple[str, ...] | None:
    """Upper-case symbols without repetition, in the order given; None when empty.

    `@file` reads them from a file: one a line or parted by commas, # begins a comment.
    """
    if text.startswith("@"):
        return read_symbols(to_path(text[1:].strip()))
    symbols = split_symbols(text)
    for symbol in symbols:
        if not is_symbol(symbol):
            raise ValueError(f"symbols like AAPL,BRK.B,^GSPC parted by commas; {symbol!r} is none")
    return symbols or None


def split_symbols(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))


def is_symbol(text: str) -> bool:
    return len(text) <= 32 and text.isprintable() and not any(c in NO_SYMBOL for c in text)


def read_symbols(path: Path) -> tuple[str, ...]:
    """The symbols in a file. What stands in it is never shown: it may be no file of symbols."""
    symbols: dict[str, None] = {}
    for number, line in enumerate(read_bounded(path).splitlines(), 1):
        found = split_symbols(line.partition("#")[0].strip().lstrip("@"))
        if not all(map(is_symbol, found)):
            raise ValueError(f"symbols in {path}, one a line; line {number} is none")
        symbols.update(dict.fromkeys(found))
    if not symbols:
        raise ValueError(f"at least one symbol in {path}")
    return tuple(symbols)


def read_bounded(path: Path) -> str:
    """The text of a file of symbols: a real one, for /proc and pipes are other things."""
    wanted = f"a text file of symbols after @; {path}"
    try:
        size = path.stat().st_size if path.is_file() else -1
        if path.exists() and not 0 < size <= SYMBOLS_BYTES:
            raise ValueError(f"{wanted} is empty, no file, or over {SYMBOLS_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{wanted}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{wanted} is no text in UTF-8") from None


def to_patterns(text: str) -> tuple[str, ...] | None:
    """Symbols in which * stands for anything."""
    patterns = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    for pattern in patterns:
        to_symbols(pattern.replace("*", "A"))
    return patterns or None


def to_vault(text: str) -> str:
    if text and not text.startswith(("https://", "http://")):
        raise ValueError("an address like https://vault.example.com:8200")
    return text.rstrip("/")


def to_command(text: str) -> tuple[str, ...]:
    """The words of a command line: quotes hold words together, nothing else is special."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"a command and its arguments: {error}") from None
    if "\0" in text or (words and not words[0]):
        raise ValueError("a command and its arguments")
    return words


def to_folder_url(text: str) -> str:
    """A folder of objects; nothing secret stands in it, for it is told in log lines."""
    parts = urlsplit(text)
    if text and (not parts.scheme or "@" in parts.netloc or parts.scheme in ("http", "https")):
        raise ValueError("a folder like s3://bucket/path, gs://bucket/path or file:///path")
    return text.rstrip("/")


def to_source_url(text: str) -> str:
    """A folder of objects, or another instance."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        return to_folder_url(text)
    if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("an address like https://data.example.com, without a user in it")
    return text.rstrip("/")


def to_endpoint(text: str) -> str:
    """Keys are not sent in the clear, but to this machine."""
    parts = urlsplit(text)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
    if text and not (is_safe and parts.netloc and "@" not in parts.netloc):
        raise ValueError("an address like https://s3.example.com; http on loopback alone")
    return text.rstrip("/")


def is_loopback(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def to_base_url(text: str) -> str:
    return text.rstrip("/")


def to_redis_url(text: str) -> str:
    wanted = "an address like redis://127.0.0.1:6379/0"
    try:
        parts = urlsplit(text)
        is_one = not text or (parts.scheme in REDIS_SCHEMES and parts.port != 0)
    except ValueError:  # a port that is no number
        raise ValueError(wanted) from None
    if not is_one:
        raise ValueError(wanted)
    return text


def to_minute_store(text: str) -> str:
    """An address of a server with a database; its password, if it has one, is struck from now on.

    chdb:///folder is ClickHouse within this process, for one process at a time.
    """
    wanted = (
        "an address like clickhouse://user@127.0.0.1:8123/database or"
        " postgresql://user@127.0.0.1:5432/database"
    )
    try:
        parts = urlsplit(text)
        is_one = not text or (parts.scheme in MINUTE_SCHEMES and parts.port != 0)
    except ValueError:  # a port that is no number
        raise ValueError(wanted) from None
    if not is_one or (text and not parts.path.strip("/")):
        raise ValueError(wanted)
    remember((unquote(parts.password or ""),))
    return text


def to_bus_url(text: str) -> str:
    if urlsplit(text).scheme in ("kafka", "kafkas"):
        return text
    try:
        return to_redis_url(text)
    except ValueError:
        raise ValueError("an address like redis://127.0.0.1:6379/0 or kafka://host:9092") from None


def to_stream_url(text: str) -> str:
    """Keys are not sent in the clear, but to this machine."""
    parts = urlsplit(text)
    is_safe = parts.scheme == "wss" or (parts.scheme == "ws" and is_loopback(parts.hostname))
    if not (is_safe and parts.netloc):
        raise ValueError("an address like wss://stream.example.com/v2; ws on loopback alone")
    return text.rstrip("/")


def to_instant_text(text: str) -> str:
    try:
        datetime.fromisoformat(text or "2000-01-01")
    except ValueError:
        raise ValueError("a day or an instant, as 2013-02-28 or 2013-02-28T14:30Z") from None
    return text


def to_zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("a time zone like America/New_York") from None


def to_optional_zone(text: str) -> ZoneInfo | None:
    return to_zone(text) if text else None


@dataclass(frozen=True)
class Shared:
    """What the ETL and the API both need to know: where the database and the run records are."""

    data_dir: Path = declare("DATA_DIR", "data", "folder of all data files", to_data_dir)
    log_level: str = declare(
        "LOG_LEVEL",
        "INFO",
        "DEBUG, INFO, WARNING or ERROR",
        to_choice(*LOG_LEVELS, is_upper=True),
    )

    vault_addr: str = declare(
        "VAULT_ADDR", "", "address of the vault, as https://vault.example.com:8200", to_vault
    )
    vault_path: str = declare(
        "VAULT_PATH",
        "",
        "mount/path of the document with the secrets (KV version 2), as secret/market-data; empty ="
        " no vault is asked",
        str,
    )
    vault_role_id: str = declare("VAULT_ROLE_ID", "", "AppRole that opens the vault", str)
    vault_secret_id: Secret = declare_secret("VAULT_SECRET_ID", "the secret of that AppRole")
    vault_token: Secret = declare_secret("VAULT_TOKEN", "token that opens the vault")
    log_format: str = declare(
        "LOG_FORMAT",
        "text",
        "lines of the log as text, or as json: one object a line",
        to_choice("text", "json"),
    )
    follow_url: str = declare(
        "FOLLOW_URL",
        "",
        "where this host takes its database from, and loads nothing itself: another host's"
        " PUBLISH_URL, or http(s):// of another instance; empty = nowhere",
        to_source_url,
    )
    follow_seconds: float = declare(
        "FOLLOW_SECONDS",
        "10",
        "seconds between two looks at FOLLOW_URL",
        to_number(0.1, " seconds"),
    )
    follow_key: Secret = declare_secret(
        "FOLLOW_KEY", "API key for FOLLOW_URL where that instance asks for one"
    )
    aws_endpoint_url: str = declare(
        "AWS_ENDPOINT_URL",
        "",
        "address of another S3 than Amazon's, for s3:// in PUBLISH_URL and FOLLOW_URL",
        to_endpoint,
    )

    minute_store: str = declare(
        "MINUTE_STORE",
        "",
        "where bars shorter than a day are kept: clickhouse://user@host:8123/database (clickhouses"
        " with TLS) or postgresql://user@host:5432/database; empty = DuckDB files in DATA_DIR",
        to_minute_store,
    )
    minute_store_password: Secret = declare_secret(
        "MINUTE_STORE_PASSWORD", "the password of MINUTE_STORE, where it has none in it"
    )

    @property
    def database_path(self) -> Path:
        return self.data_dir / "market_data.duckdb"

    @property
    def runs_dir(self) -> Path:
        return self.data_dir / "runs"


@dataclass(frozen=True)
class OnFailure:
    """Read alone where the other settings cannot be used, which somebody must be told too."""

    on_failure: tuple[str, ...] = declare(
        "ON_FAILURE",
        "",
        "command to run when a run of the ETL fails, with what happened in ETL_MESSAGE, ETL_STAGE,"
        " ETL_RUN_ID and ETL_EXIT_CODE; empty = none",
        to_command,
    )


@dataclass(frozen=True)
class Settings(Shared, OnFailure):
    """The settings of the ETL; read them with `read_settings`."""

    chosen_sources: tuple[str, ...] = declare(
        "SOURCE",
        "",
        "sample, files, alpha_vantage, alpaca or massive, or several of these vendors parted by"
        " commas, the first before the next; empty = alpha_vantage when AV_API_KEY is set, else"
        " sample",
        to_sources,
    )
    chosen_symbols: tuple[str, ...] | None = declare(
        "SYMBOLS",
        "",
        "symbols parted by commas, or @file (one a line); empty = AAPL,GOOG,IBM,MSFT,FB for sample,"
        " AAPL,GOOGL,IBM,MSFT,META for vendors, every symbol found for files",
        to_symbols,
    )
    source_path: Path | None = declare(
        "SOURCE_PATH", "", "file, folder or glob for SOURCE=files", to_optional_path
    )
    source_adjustment: str = declare(
        "SOURCE_ADJUSTMENT",
        "raw",
        "basis of the prices in files: raw (as traded) or split (as Yahoo's Close)",
        to_choice(*BASES),
    )
    date_order: str = declare(
        "DATE_ORDER",
        "",
        "of dates like 1/3/2023 that nothing else settles: DMY, MDY or YMD; empty = refuse them",
        to_choice("", "DMY", "MDY", "YMD", is_upper=True),
    )
    minutes_stamp: str = declare(
        "MINUTES_STAMP",
        "start",
        "what stamps of minutes in files are where nothing in them says it: the start or the end"
        " of their bar (end: TradeStation, NinjaTrader)",
        to_choice("start", "end"),
    )
    minutes_zone: ZoneInfo | None = declare(
        "MINUTES_ZONE",
        "",
        "clock of the stamps of minutes in files that name none, as Europe/London; empty = that of"
        " the symbol's exchange",
        to_optional_zone,
    )
    av_api_key: Secret = declare_secret("AV_API_KEY", "your Alpha Vantage key")
    av_base_url: str = declare(
        "AV_BASE_URL", "https://www.alphavantage.co/query", "address of the vendor", str
    )
    av_outputsize: str = declare(
        "AV_OUTPUTSIZE",
        "compact",
        "compact (last 100 bars, free) or full (premium)",
        to_choice("compact", "full"),
    )
    av_calls_per_second: float = declare(
        "AV_CALLS_PER_SECOND", "1", "most calls a second; 0 = no limit", to_number(0)
    )
    av_calls_per_minute: int = declare(
        "AV_CALLS_PER_MINUTE",
        "0",
        "most calls in any 60 seconds, as premium keys are sold (75 to 1200); 0 = no limit",
        to_integer(0, 100_000),
    )
    av_calls_per_day: int = declare(
        "AV_CALLS_PER_DAY",
        "25",
        "most calls a day, over all runs (25 is a free key's); 0 = no limit",
        to_integer(0),
    )
    av_day_zone: ZoneInfo = declare(
        "AV_DAY_ZONE", "America/New_York", "time zone whose midnight begins that day", to_zone
    )
    alpaca_key_id: Secret = declare_secret("ALPACA_KEY_ID", "the ID of your Alpaca key")
    alpaca_secret_key: Secret = declare_secret("ALPACA_SECRET_KEY", "the secret of that key")
    alpaca_base_url: str = declare(
        "ALPACA_BASE_URL", "https://data.alpaca.markets", "address of Alpaca's data", to_base_url
    )
    alpaca_feed: str = declare(
        "ALPACA_FEED",
        "sip",
        "whose bars: sip (all exchanges), iex (one, in every plan) or otc",
        to_choice("sip", "iex", "otc"),
    )
    alpaca_calls_per_second: float = declare(
        "ALPACA_CALLS_PER_SECOND", "0", "most calls a second; 0 = no limit", to_number(0)
    )
    alpaca_calls_per_minute: int = declare(
        "ALPACA_CALLS_PER_MINUTE",
        "200",
        "most calls in any 60 seconds (200 is a free key's); 0 = no limit",
        to_integer(0, 100_000),
    )
    alpaca_calls_per_day: int = declare(
        "ALPACA_CALLS_PER_DAY", "0", "most calls a day, over all runs; 0 = no limit", to_integer(0)
    )
    massive_api_key: Secret = declare_secret("MASSIVE_API_KEY", "your Massive (Polygon) key")
    massive_base_url: str = declare(
        "MASSIVE_BASE_URL", "https://api.massive.com", "address of Massive", to_base_url
    )
    massive_calls_per_second: float = declare(
        "MASSIVE_CALLS_PER_SECOND", "0", "most calls a second; 0 = no limit", to_number(0)
    )
    massive_calls_per_minute: int = declare(
        "MASSIVE_CALLS_PER_MINUTE",
        "5",
        "most calls in any 60 seconds (5 is a free key's); 0 = no limit",
        to_integer(0, 100_000),
    )
    massive_calls_per_day: int = declare(
        "MASSIVE_CALLS_PER_DAY", "0", "most calls a day, over all runs; 0 = no limit", to_integer(0)
    )
    exchange: str = declare(
        "EXCHANGE",
        "XNYS",
        "calendar (MIC) of symbols whose form names none: its sessions are expected",
        str.upper,
    )
    signed_symbols: tuple[str, ...] | None = declare(
        "SIGNED_SYMBOLS",
        "",
        "symbols whose prices may be zero or below (* stands for anything), beside futures, rates"
        " and spreads known by their form (CL=F, CLK20, ^IRX, US10Y)",
        to_patterns,
    )
    corporate_actions_days: int = declare(
        "CORPORATE_ACTIONS_DAYS",
        "30",
        "days between two questions for a symbol's splits and dividends; 0 = never ask",
        to_integer(0, 36_500),
    )
    max_payload_mb: int = declare(
        "MAX_PAYLOAD_MB", "64", "largest answer to take, unpacked, in MiB", to_integer(1, 4096)
    )
    http_timeout: float = declare(
        "HTTP_TIMEOUT", "30", "seconds for the vendor's whole answer", to_number(0.1, " seconds")
    )
    queue_url: str = declare(
        "QUEUE_URL",
        "",
        "Redis through which workers (make worker) make the calls, as redis://127.0.0.1:6379/0;"
        " empty = threads of the ETL's own process",
        to_redis_url,
    )
    worker_calls: int = declare(
        "WORKER_CALLS", "8", "calls that one worker has under way at once", to_integer(1, 256)
    )
    close_delay_minutes: int = declare(
        "CLOSE_DELAY_MINUTES",
        "150",
        "minutes after an exchange's close at which make schedule runs the ETL",
        to_integer(0, 1440),
    )
    start_date: date | None = declare(
        "START_DATE", "", "first day to keep, as 2012-01-31; empty = keep all", to_date
    )
    end_date: date | None = declare(
        "END_DATE", "", "last day to keep (inclusive); empty = keep all", to_date
    )
    minutes_since: date | None = declare(
        "MINUTES_SINCE",
        "",
        "day from which on make minutes makes or asks bars of minutes; empty = the current and the"
        " last month (of the sample: its own last two)",
        to_date,
    )
    bus_url: str = declare(
        "BUS_URL",
        "",
        "what carries live bars from stream to consumers: redis://127.0.0.1:6379/0, or"
        " kafka://127.0.0.1:9092; empty = make live alone, in its own memory",
        to_bus_url,
    )
    bus_max_mb: int = declare(
        "BUS_MAX_MB",
        "64",
        "live bars that may wait to be stored; beyond it the oldest are dropped, and counted",
        to_integer(1, 1 << 20),
    )
    stream_source: str = declare(
        "STREAM_SOURCE",
        "",
        "whose stream: alpaca, massive, or replay (stored minutes, as a stream); empty = whose key"
        " there is, else replay",
        to_choice("", "alpaca", "massive", "replay"),
    )
    alpaca_stream_url: str = declare(
        "ALPACA_STREAM_URL",
        "wss://stream.data.alpaca.markets/v2",
        "address of Alpaca's stream; ALPACA_FEED is put behind it, unless a feed stands there",
        to_stream_url,
    )
    massive_stream_url: str = declare(
        "MASSIVE_STREAM_URL",
        "wss://socket.massive.com/stocks",
        "address of Massive's stream",
        to_stream_url,
    )
    stream_symbols: tuple[str, ...] | None = declare(
        "STREAM_SYMBOLS", "", "symbols to stream, as SYMBOLS; empty = those of SYMBOLS", to_symbols
    )
    stream_silence: float = declare(
        "STREAM_SILENCE",
        "120",
        "seconds of an open market without a bar until the stream is connected anew",
        to_number(0.1, " seconds"),
    )
    stream_speed: float = declare(
        "STREAM_SPEED",
        "60",
        "speed of a replay: 1 = as it was, 60 = a minute a second, 0 = as fast as it goes",
        to_number(0),
    )
    stream_start: str = declare(
        "STREAM_START",
        "",
        "day or instant (UTC) from which a replay goes on; empty = the last day that is stored",
        to_instant_text,
    )
    consume_bars: int = declare(
        "CONSUME_BARS", "20000", "most live bars of one publication", to_integer(1, 1_000_000)
    )
    metrics_textfile: Path | None = declare(
        "METRICS_TEXTFILE",
        "",
        "file (.prom), or folder of node_exporter's textfile collector, to write how runs ended"
        " to; empty = none",
        to_optional_path,
    )
    publish_url: str = declare(
        "PUBLISH_URL",
        "",
        "folder (s3://, gs://, file://) that each published generation is uploaded to; empty ="
        " none",
        to_folder_url,
    )
    publish_keep: int = declare(
        "PUBLISH_KEEP", "3", "generations that stay in PUBLISH_URL", to_integer(1, 1_000)
    )
    etl_memory_mb: int | None = declare(
        "ETL_MEMORY_MB",
        "",
        "memory of the ETL's DuckDB; empty = its own limit, 64 a core in transform",
        to_optional_integer(64),
    )

    @property
    def sources(self) -> tuple[str, ...]:
        """Where bars come from: one source, or vendors of which the first is asked first."""
        return self.chosen_sources or (AV if self.av_api_key else "sample",)

    @property
    def source(self) -> str:
        return ",".join(self.sources)

    @property
    def symbols(self) -> tuple[str, ...] | None:
        """The symbols to fetch; None: every symbol found."""
        return self.chosen_symbols or DEFAULT_SYMBOLS.get(self.sources[0])

    @property
    def raw_path(self) -> Path:
        return self.data_dir / "raw_data.parquet"

    @property
    def raw_actions_path(self) -> Path:
        return self.data_dir / "raw_actions.parquet"

    @property
    def clean_path(self) -> Path:
        return self.data_dir / "clean_data.parquet"

    @property
    def clean_actions_path(self) -> Path:
        return self.data_dir / "clean_actions.parquet"

    @property
    def rejected_path(self) -> Path:
        return self.data_dir / "rejected_data.parquet"

    @property
    def raw_minutes_path(self) -> Path:
        return self.data_dir / "raw_minutes.parquet"

    @property
    def raw_spans_path(self) -> Path:
        return self.data_dir / "raw_minute_spans.parquet"

    @property
    def clean_minutes_path(self) -> Path:
        return self.data_dir / "clean_minutes.parquet"

    @property
    def rejected_minutes_path(self) -> Path:
        return self.data_dir / "rejected_minutes.parquet"

    @property
    def report_path(self) -> Path:
        return self.data_dir / "report.html"

    @property
    def archive_dir(self) -> Path:
        return self.data_dir / "archive"


S = TypeVar("S")


def read_settings(
    kind: type[S],
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path = ENV_FILE,
) -> S:
    """Build `kind` (a dataclass of declared fields) from options, environment, .env and defaults.

    `options` come from a command line: setting name → text; None means not given.
    Raises SettingsError, naming key, value and wanted type.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    environ = os.environ if environ is None else environ
    env = EnvFile(env_file)
    layers = (given, environ, env.read())
    origins = Origins((given, environ), env.read, PROJECT_ROOT)
    values = {item.name: read_setting(item.metadata, layers, origins) for item in fields(kind)}  # type: ignore[arg-type]
    return kind(**values)


def read_setting(
    setting: Mapping[str, Any], layers: tuple[Mapping[str, Any], ...], origins: Origins
) -> object:
    name = setting["name"]
    if setting["parse"] is None:
        return Secret(name, origins)
    text = next((str(layer[name]).strip() for layer in layers if layer.get(name) is not None), "")
    try:
        return setting["parse"](text or setting["default"])
    except ValueError as error:
        shown = "(hidden)" if may_hide(name, text) else repr(text)
        raise SettingsError(strike(f"{name}={shown}: wanted {error}")) from None


def may_hide(name: str, text: str) -> bool:
    """Whether a value may hold a password: a secret, a command, an address with one."""
    is_address = name.endswith("_URL") or name == "MINUTE_STORE"
    has_password = is_address and ("@" in text or "password" in text.lower())
    return is_secret(name) or name == "ON_FAILURE" or has_password


@dataclass
class EnvFile:
    """The values in .env, read again when the file is another."""

    path: Path
    state: str = ""
    values: dict[str, str | None] = field(default_factory=dict)

    def read(self) -> dict[str, str | None]:
        try:
            found = self.path.stat()
            state = f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"
        except OSError:
            state = "absent"
        if state != self.state:
            self.values, self.state = read_env_file(self.path), state
        return self.values


def read_env_file(path: Path) -> dict[str, str | None]:
    if path.exists() and not path.is_file():
        raise SettingsError(f"{path.name} cannot be read: it is no file")
    try:
        return dotenv_values(path) if path.exists() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} cannot be read: {error}") from None


def find_oddities(kind: type[object], env_file: Path | None = None) -> list[str]:
    """What looks wrong about .env though it can be used: misspelt names, a key for all to read."""
    path = env_file or ENV_FILE
    values = read_env_file(path)
    known = [*(setting["name"] for setting in list_settings(kind)), *SECRETS, *list_files()]
    odd = [
        f"{path.name}: {name} is no setting: did you mean {near}?"
        for name in values
        if name not in known
        and name not in list_others(kind)
        and (near := find_nearest(name, known))
    ]
    has_key = any(is_secret(name) and value for name, value in values.items())
    if has_key and path.stat().st_mode & 0o077:
        odd.append(f"{path.name} holds a key and others may read it: chmod 600 {path}")
    return odd


def list_others(kind: type[object]) -> list[str]:
    """Names of the settings of the other half, as far as this process knows it."""
    alike: list[type[object]] = []
    for base in kind.__bases__:
        alike += base.__subclasses__()
    others = [each for each in alike if each is not kind]
    return [setting["name"] for each in others for setting in list_settings(each)]


def find_nearest(name: str, known: Sequence[str]) -> str | None:
    """The setting that was meant, if the name looks like one."""
    upper = name.upper().replace("-", "_")
    near = [ALIASES[upper]] if upper in ALIASES else get_close_matches(upper, known, 1, 0.82)
    return near[0] if near and near[0] in known else None


def list_settings(kind: type[object]) -> list[Mapping[str, Any]]:
    """The declarations of `kind`, in order: name, default, help, parse."""
    return [item.metadata for item in fields(kind)]  # type: ignore[arg-type]
