"""Every setting of the API, declared once; the only place where api knows of etl."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from etl.credentials.secret import Secret
from etl.settings import (
    SettingsError,
    Shared,
    declare,
    declare_secret,
    find_oddities,
    list_settings,
    read_settings,
    to_flag,
    to_integer,
    to_number,
    to_optional_path,
    to_redis_url,
)

__all__ = ["ApiSettings", "SettingsError", "find_oddities", "list_settings", "read_settings"]

LEAST_KEY_BYTES = 32


def to_origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        if origin != "*" and not origin.startswith(("http://", "https://")):
            raise ValueError("origins like https://app.example.com parted by commas, or *")
    return origins


def to_hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for host in hosts:
        if host != "*" and any(mark in host.removeprefix("*.") for mark in "/ @*"):
            raise ValueError("host names like data.example.com parted by commas, or *")
    return tuple(host.strip("[]") for host in hosts)


def to_root_path(text: str) -> str:
    path = text.strip().rstrip("/")
    if path and not re.fullmatch(r"(/[\w.~-]+)+", path, re.ASCII):
        raise ValueError("a path like /market")
    return path


def parse_rate(text: str) -> list[tuple[int, int]]:
    """Requests and seconds of each part of 5/second;1000/hour. ValueError where it is no rate."""
    import limits  # only where a limit is set

    pairs = [(item.amount, int(item.get_expiry())) for item in limits.parse_many(text)]
    if any(quota < 1 or window < 1 for quota, window in pairs):
        raise ValueError(text)
    return pairs


def to_rate(text: str) -> str:
    if text.lower() in ("", "off"):
        return text.lower()
    try:
        parse_rate(text)
    except ValueError:
        raise ValueError("a rate like 100/minute or 5/second;1000/hour, or off") from None
    return text


def to_networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    parts = (part.strip() for part in text.split(","))
    try:
        return tuple(ipaddress.ip_network(part) for part in parts if part)
    except ValueError:
        raise ValueError("addresses or networks like 127.0.0.1, 10.0.0.0/8") from None


WITH_AUTH = "100/minute"  # the limit where callers are told apart and none is set


def to_switch(text: str) -> bool | None:
    """On or off; None where nothing is said."""
    return to_flag(text) if text else None


@dataclass(frozen=True)
class ApiSettings(Shared):
    """The settings of the API; read them with `read_settings`."""

    api_host: str = declare("API_HOST", "127.0.0.1", "address to serve on", str)
    api_port: int = declare("API_PORT", "8000", "port to serve on", to_integer(1, 65535))
    api_workers: int = declare("API_WORKERS", "1", "server processes", to_integer(1, 64))
    cache_max_mb: int = declare(
        "CACHE_MAX_MB", "256", "memory for finished answers, a worker; 0 = none", to_integer(0)
    )
    cache_url: str = declare(
        "CACHE_URL",
        "",
        "Redis through which instances share finished answers, as redis://127.0.0.1:6379/0; empty ="
        " each has its own alone",
        to_redis_url,
    )
    db_memory_mb: int = declare(
        "DB_MEMORY_MB", "256", "memory of the API's DuckDB, a worker", to_integer(32)
    )
    work_max_mb: int = declare(
        "WORK_MAX_MB", "48", "memory for answers in the making, a worker", to_integer(1)
    )
    max_rows: int = declare(
        "MAX_ROWS", "50000", "most rows of one answer, and the default limit", to_integer(1)
    )
    query_timeout: float = declare(
        "QUERY_TIMEOUT", "1", "seconds until a query is interrupted", to_number(0.001, " seconds")
    )
    cors_origins: tuple[str, ...] = declare(
        "CORS_ORIGINS", "", "web origins that may call, parted by commas; empty = off", to_origins
    )
    head_timeout: float = declare(
        "HEAD_TIMEOUT", "10", "seconds for head or body of a request", to_number(0.01, " seconds")
    )
    client_connections: int = declare(
        "CLIENT_CONNECTIONS",
        "256",
        "most open connections of one client, a worker; a new one takes the place of an idle one",
        to_integer(1),
    )
    streams_per_caller: int = declare(
        "STREAMS_PER_CALLER",
        "16",
        "most open streams (/stream) of one caller, a worker",
        to_integer(1),
    )
    allowed_hosts: tuple[str, ...] = declare(
        "ALLOWED_HOSTS",
        "",
        "names to answer to, parted by commas, beside loopback and API_HOST; * = all",
        to_hosts,
    )
    root_path: str = declare(
        "ROOT_PATH", "", "path below which a proxy publishes the service, as /market", to_root_path
    )
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = declare(
        "TRUSTED_PROXIES",
        "",
        "addresses or networks of proxies whose X-Forwarded-For and -Prefix count; empty = none",
        to_networks,
    )
    rate_limit: str = declare(
        "RATE_LIMIT",
        "",
        "requests that a caller may make, as 100/minute or 5/second;1000/hour; off = none; empty ="
        " none, with AUTH=on 100/minute",
        to_rate,
    )
    rate_limit_url: str = declare(
        "RATE_LIMIT_URL",
        "",
        "Redis through which processes share limits, as redis://127.0.0.1:6379/0; empty = each"
        " worker limits by itself",
        to_redis_url,
    )
    jwt_key: Secret = declare_secret("JWT_KEY", "key that signs tokens, of at least 32 bytes")
    jwt_key_previous: Secret = declare_secret(
        "JWT_KEY_PREVIOUS", "the key before it: tokens that it signed stay valid"
    )
    metrics_token: Secret = declare_secret("METRICS_TOKEN", "bearer token that opens /metrics")
    metrics: bool = declare(
        "METRICS", "off", "count requests and give all metrics at /metrics: on or off", to_flag
    )
    access_log: bool = declare("ACCESS_LOG", "off", "log each request: on or off", to_flag)

    auth: bool | None = declare(
        "AUTH",
        "",
        "on: callers say who they are; off: open to all; empty = off, on loopback alone",
        to_switch,
    )
    access_minutes: int = declare(
        "ACCESS_MINUTES", "15", "minutes that an access token is good for", to_integer(1, 1_440)
    )
    sign_in_days: int = declare(
        "SIGN_IN_DAYS", "30", "days until a user has to give the password again", to_integer(1, 365)
    )
    users_db: Path | None = declare(
        "USERS_DB",
        "",
        "file of users and keys; empty = users.sqlite in DATA_DIR",
        to_optional_path,
    )

    @property
    def rate_limit_in_use(self) -> str:
        """The limit of requests; "" for none."""
        with_auth = WITH_AUTH if self.auth else ""
        return {"": with_auth, "off": ""}.get(self.rate_limit, self.rate_limit)

    @property
    def users_path(self) -> Path:
        return self.users_db or self.data_dir / "users.sqlite"

    @property
    def is_loopback(self) -> bool:
        """Whether no other machine can reach the address served on."""
        try:
            return ipaddress.ip_address(self.api_host.strip("[]")).is_loopback
        except ValueError:
            return self.api_host.lower() == "localhost"


def load_secrets(settings: ApiSettings) -> None:
    """Ask for the secrets that the service uses, so that no request waits for it. SettingsError."""
    if settings.metrics:
        settings.metrics_token.values  # noqa: B018
    if settings.auth:
        settings.jwt_key.values  # noqa: B018


def check_guard(settings: ApiSettings) -> None:
    """SettingsError where it is not said, or not possible, that callers say who they are."""
    if settings.auth is None and not settings.is_loopback:
        raise SettingsError(
            f"API_HOST={settings.api_host} lets other machines ask: set AUTH=on (callers say who"
            " they are: make user, make key) or AUTH=off (open to all)"
        )
    keys = settings.jwt_key.values if settings.auth else ()
    if settings.auth and (not keys or any(len(key.encode()) < LEAST_KEY_BYTES for key in keys)):
        raise SettingsError(
            f"AUTH=on signs tokens with JWT_KEY, which must have {LEAST_KEY_BYTES} bytes or more:"
            " `openssl rand -hex 32` makes one"
        )
