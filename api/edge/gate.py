"""The first that a request meets: its headers are read once, bounded, and its Host is checked.

Here too are the headers that keep a browser from making more of an answer than it is.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Message, Scope, Send

from api.cache.memory import RawHeaders
from api.problems import build_problem

MOST_HEADER_BYTES = 8 * 1024  # of all headers, as they are sent
MOST_HOSTS = 64  # that are remembered, of at most MOST_HEADER_BYTES each
READ = frozenset(
    (
        *(b"host", b"accept", b"accept-encoding", b"range", b"if-range"),
        *(b"if-match", b"if-none-match", b"x-forwarded-prefix", b"x-forwarded-for"),
        *(b"authorization", b"x-api-key", b"x-request-id"),
        *(b"content-length", b"transfer-encoding"),
    )
)
SECURITY: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
PREFIX = re.compile(r"(?:/[\w.~-]{1,64}){1,8}", re.ASCII)
EVERY_ADDRESS = frozenset(("0.0.0.0", "::", ""))  # noqa: S104 (only compared with)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Head = dict[bytes, bytes]  # the headers of READ that were sent, each as one value


def read_head(headers: RawHeaders) -> tuple[Head, int]:
    """The headers that are of use here, and the bytes of all of them."""
    head: Head = {}
    size = 4 * len(headers)
    for name, value in headers:
        size += len(name) + len(value)
        if name in READ:
            head[name] = head[name] + b"," + value if name in head else value
    return head, size


@dataclass(frozen=True)
class Hosts:
    """The names under which this service may be asked for.

    A web page whose name is made to point to this machine (DNS rebinding) is thereby refused: its
    requests carry that name. names: lower case; one that begins with a dot stands for all below it.
    """

    names: frozenset[str]
    takes_addresses: bool = False
    takes_all: bool = False
    known: dict[bytes, bool] = field(default_factory=dict, compare=False)

    def allow(self, host: bytes) -> bool:
        """As `check`, which is remembered: nearly all requests name one of few."""
        found = self.known.get(host)
        if found is None:
            found = self.check(host)
            if len(self.known) >= MOST_HOSTS:
                self.known.clear()
            self.known[host] = found
        return found

    def check(self, host: bytes) -> bool:
        if self.takes_all:
            return True
        name = read_name(host)
        if name in self.names or (self.takes_addresses and is_address(name)):
            return True
        return any(each.startswith(".") and name.endswith(each) for each in self.names)


def build_hosts(api_host: str, allowed: Iterable[str]) -> Hosts:
    """Loopback, the address served on and those that are set; `*` is all.

    Who serves on every address of a machine is asked for by any of them, and by its name.
    """
    given = {name.lower().removeprefix("*") if name != "*" else name for name in allowed}
    names = {*LOOPBACK, ".localhost", api_host.lower().strip("[]"), *given}
    is_open = api_host.strip("[]") in EVERY_ADDRESS
    if is_open:
        names |= {socket.gethostname().lower()}
    return Hosts(frozenset(names - {"", "*"}), is_open, "*" in given)


def read_name(host: bytes) -> str:
    """The name of a Host header, without its port; none of several."""
    text = host.decode("latin-1").strip().lower()
    if "," in text:
        return ""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def read_address(entry: str) -> str:
    """The address in an entry of X-Forwarded-For, to which some proxies add their client's port."""
    text = entry.strip().strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_head(head: Head, size: int, hosts: Hosts) -> Response | None:
    """The refusal of a request by its head alone; None where there is nothing to refuse.

    A request without a Host comes from no browser.
    """
    if size > MOST_HEADER_BYTES:
        detail = f"The headers have {size} bytes in all: send at most {MOST_HEADER_BYTES}."
        return refuse(431, detail)
    host = head.get(b"host")
    if host is not None and not hosts.allow(host):
        detail = (
            f"This service is not known as {read_name(host)}: ask for localhost, or name it in"
            " ALLOWED_HOSTS."
        )
        return refuse(421, detail)
    return None


def is_for_others(server: Sequence[object] | None) -> bool:
    """Whether a request came to an address of this machine that others reach too."""
    if server is None or server[0] in LOOPBACK:
        return False
    try:
        address = ipaddress.ip_address(str(server[0]))
    except ValueError:  # a socket of this machine, or a test's own name
        return False
    return not (getattr(address, "ipv4_mapped", None) or address).is_loopback


def check_body(method: str, head: Head) -> Response | None:
    """The refusal of a body where none belongs; what is sent of it is not read."""
    length, coding = head.get(b"content-length", b"0"), head.get(b"transfer-encoding")
    if method not in ("GET", "HEAD") or (coding is None and not length.strip(b"0, ")):
        return None
    detail = f"A {method} takes no body: send what is asked as parameters of the address."
    return refuse(413, detail, {"Connection": "close"})


@dataclass(frozen=True)
class Proxies:
    """What stands in front of this service.

    root: the path below which it is published, "" for none; networks: those who may name another.
    """

    root: str
    networks: tuple[Network, ...] = ()

    def find_root(self, client: Sequence[object] | None, head: Head) -> str:
        """The path below which this request was sent: of who is not trusted none is taken."""
        given = head.get(b"x-forwarded-prefix")
        if given is None or not self.networks or not self.trust(client):
            return self.root
        prefix = given.decode("latin-1").strip().rstrip("/")
        return prefix if not prefix or PREFIX.fullmatch(prefix) else self.root

    def find_address(self, client: Sequence[object] | None, head: Head) -> str:
        """Who asks: the last of X-Forwarded-For that is no trusted proxy, else who connected."""
        peer = str(client[0]) if client else ""
        forwarded = head.get(b"x-forwarded-for")
        if forwarded is None or not self.networks or not self.trust(client):
            return peer
        for part in reversed(forwarded.decode("latin-1").split(",")):
            name = read_address(part)
            if not is_address(name):  # whatever stands before it is no better
                return peer
            peer = name
            if not self.trust((name,)):
                return name
        return peer

    def trust(self, client: Sequence[object] | None) -> bool:
        try:
            address = ipaddress.ip_address(str(client[0]) if client else "")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # IPv4 on a socket of IPv6
        return any((mapped or address) in network for network in self.networks)


def refuse(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: str
) -> Response:
    answer = build_problem(status, detail, headers, **members)
    answer.raw_headers.extend(SECURITY)
    return answer


def secure(send: Send) -> Send:
    """`send`, with those of SECURITY that an answer has not set itself."""

    async def send_secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            missing = [pair for pair in SECURITY if pair[0] not in names]
            message = {**message, "headers": headers + missing}
        await send(message)

    return send_secured


class Cors(CORSMiddleware):
    """CORS whose refusals are problem bodies, as all others are."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code >= 400:
            said = bytes(answer.body).decode().removeprefix("Disallowed CORS ")
            detail = f"This is not allowed from another origin ({said}): see CORS_ORIGINS."
            problem = build_problem(answer.status_code, detail)
            kept = [(n, v) for n, v in answer.raw_headers if not n.startswith(b"content-")]
            problem.raw_headers.extend(kept)
            answer = problem
        answer.raw_headers.extend(SECURITY)
        return answer


def get_head(scope: Scope) -> Head:
    """The headers as the gate read them."""
    head: Head = scope["state"]["head"]
    return head
