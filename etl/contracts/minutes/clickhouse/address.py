"""Which ClickHouse server and database MINUTE_STORE names."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from etl.contracts.minutes import MinuteStoreError
from etl.credentials.redaction import remember

SCHEMES = ("clickhouse", "clickhouses", "chdb")
WANTED = "an address like clickhouse://user@host:8123/database (clickhouses:// for TLS)"


@dataclass(frozen=True)
class Address:
    """path: of the engine in this process (chdb:///folder), "" where a server is asked."""

    is_tls: bool
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    path: str = ""

    @property
    def shown(self) -> str:
        """As messages name it: without the password."""
        if self.path:
            return f"chdb://{self.path}"
        scheme = "clickhouses" if self.is_tls else "clickhouse"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{self.user}@{host}:{self.port}/{self.database}"


def read_address(url: str, password: str = "") -> Address:
    """The parts of the URL; a password in it goes before the one that is given."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise MinuteStoreError(f"MINUTE_STORE must be {WANTED}") from None
    secret = unquote(parts.password or "") or password
    remember([secret])
    if parts.scheme == "chdb":
        return Address(False, "", 0, "", "", "minutes", parts.path)
    return read_server(parts, port, secret)


def read_server(parts: SplitResult, port: int | None, password: str) -> Address:
    database = unquote(parts.path.strip("/"))
    is_whole = parts.hostname and database and "/" not in database
    if not is_whole or parts.query or parts.fragment or parts.scheme not in SCHEMES:
        raise MinuteStoreError(f"MINUTE_STORE must be {WANTED}, and nothing after the database")
    is_tls = parts.scheme == "clickhouses"
    user = unquote(parts.username or "default")
    default_port = 8443 if is_tls else 8123
    return Address(is_tls, str(parts.hostname), port or default_port, user, password, database)
