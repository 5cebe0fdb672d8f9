"""Every setting of the API, declared once; the only place where api knows of etl."""

import ipaddress
import re
from dataclasses import dataclass

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
)

__all__ = ["ApiSettings", "SettingsError", "find_oddities", "list_settings", "read_settings"]


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


def to_networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    parts = (part.strip() for part in text.split(","))
    try:
        return tuple(ipaddress.ip_network(part) for part in parts if part)
    except ValueError:
        raise ValueError("addresses or networks like 127.0.0.1, 10.0.0.0/8") from None


@dataclass(frozen=True)
class ApiSettings(Shared):
    """The settings of the API; read them with `read_settings`."""

    api_host: str = declare("API_HOST", "127.0.0.1", "address to serve on", str)
    api_port: int = declare("API_PORT", "8000", "port to serve on", to_integer(1, 65535))
    api_workers: int = declare("API_WORKERS", "1", "server processes", to_integer(1, 64))
    cache_max_mb: int = declare(
        "CACHE_MAX_MB", "256", "memory for finished answers, a worker; 0 = none", to_integer(0)
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
        "HEAD_TIMEOUT", "10", "seconds for the head of a request", to_number(0.01, " seconds")
    )
    client_connections: int = declare(
        "CLIENT_CONNECTIONS",
        "256",
        "most open connections of one client, a worker; a new one takes the place of an idle one",
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
        "addresses or networks of proxies whose X-Forwarded-Prefix is taken; empty = none",
        to_networks,
    )
    jwt_key: Secret = declare_secret("JWT_KEY", "key that signs tokens, of at least 32 bytes")
    jwt_key_previous: Secret = declare_secret(
        "JWT_KEY_PREVIOUS", "the key before it: tokens that it signed stay valid"
    )
    metrics_token: Secret = declare_secret("METRICS_TOKEN", "bearer token that opens /metrics")
    access_log: bool = declare("ACCESS_LOG", "off", "log each request: on or off", to_flag)
