"""Clients that say how each of their answers was had, and how long it took; wrk does not."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Seen:
    """at, seconds: when it was asked for, and how long it took; status 0: there was no answer."""

    at: float
    seconds: float
    status: int
    is_made: bool


async def ask_all(base: str, urls: Iterator[str], connections: int, pause: float) -> list[Seen]:
    """Ask for what comes next, over so many connections; each rests after an answer."""
    lists = await asyncio.gather(*(ask_in_turn(base, urls, pause) for _ in range(connections)))
    return [seen for each in lists for seen in each]


async def ask_in_turn(base: str, urls: Iterator[str], pause: float) -> list[Seen]:
    address = urlsplit(base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
    found = []
    for url in urls:
        found.append(await ask(reader, writer, url))
        await asyncio.sleep(pause)
    writer.close()
    return found


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> Seen:
    at = time.monotonic()
    try:
        writer.write(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        await reader.readexactly(int(headers["content-length"]))
    except (OSError, asyncio.IncompleteReadError):
        return Seen(at, time.monotonic() - at, 0, is_made=False)
    is_made = headers.get("x-cache") == "miss"
    return Seen(at, time.monotonic() - at, int(head[0].split()[1]), is_made)
