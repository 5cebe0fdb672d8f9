"""The published generation of another instance, over its own routes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from etl.contracts.manifest import LARGEST, Manifest, find_place, read_manifest
from etl.settings import is_loopback
from etl.store.replicas import ReplicaError

PATH = "/generations/current"
MOST_SPANS = 50  # requests for one generation: what lies between near blocks is fetched with them
TIMEOUT = (5, 30)  # seconds to connect, and without a byte
MOST_MANIFEST_BYTES = 80 * (LARGEST >> 18)
REMEDIES = {
    401: "set FOLLOW_KEY to a key of that instance (there: make key)",
    403: "FOLLOW_KEY may not read there",
    404: "is it an instance of this version?",
    429: "that instance limits FOLLOW_KEY (its RATE_LIMIT)",
    503: "it has no database now",
}


class Instance:
    """It is asked under a key where one is set, which goes to no other address."""

    def __init__(self, url: str, key: str = "") -> None:
        if key and urlsplit(url).scheme == "http" and not is_loopback(urlsplit(url).hostname):
            raise ReplicaError("is http://, where FOLLOW_KEY would be sent in the clear: https://")
        self.url = url + PATH
        self.known: tuple[str, Manifest] | None = None
        self.session = requests.Session()
        self.session.trust_env = False  # no key out of .netrc
        if key:
            self.session.headers["X-API-Key"] = key

    def read_manifest(self) -> Manifest:
        """A look costs one 304, unless there is another generation."""
        head = {"If-None-Match": self.known[0]} if self.known else {}
        with self.ask("/manifest", head) as answer:
            if answer.status_code == 304 and self.known:
                return self.known[1]
            text = bytearray()
            for piece in answer.iter_content(1 << 16):
                text += piece
                if len(text) > MOST_MANIFEST_BYTES:
                    break
        try:
            self.known = answer.headers.get("ETag", ""), read_manifest(bytes(text))
        except ValueError as error:
            raise ReplicaError("does not answer as an instance of this service", error) from None
        return self.known[1]

    def read_blocks(
        self, manifest: Manifest, numbers: Iterable[int]
    ) -> Iterator[tuple[int, bytes, int]]:
        """Number, content, and bytes that travelled; also of blocks between those wanted."""
        for first, last in find_spans(sorted(numbers), MOST_SPANS):
            start = find_place(first, manifest.size)[0]
            end = sum(find_place(last, manifest.size)) - 1
            etag = f'"{manifest.generation}"'
            head = {"Range": f"bytes={start}-{end}", "If-Range": etag}
            with self.ask("", head) as answer:
                if answer.headers.get("ETag") != etag or answer.status_code != 206:
                    raise ReplicaError("has a newer generation by now: the next look takes that")
                for number in range(first, last + 1):
                    block = read_exactly(answer, find_place(number, manifest.size)[1])
                    yield number, block, len(block)

    @contextmanager
    def ask(self, path: str, head: dict[str, str] | None = None) -> Iterator[requests.Response]:
        """ReplicaError for what is no answer; of an error that names the address, the class."""
        plain = {"Accept-Encoding": "identity", **(head or {})}
        try:
            with self.session.get(
                self.url + path, headers=plain, stream=True, timeout=TIMEOUT, allow_redirects=False
            ) as answer:
                if answer.status_code not in (200, 206, 304):
                    remedy = REMEDIES.get(answer.status_code, "its log says why")
                    raise ReplicaError(f"answers with HTTP {answer.status_code}: {remedy}")
                yield answer
        except (requests.RequestException, HTTPError, OSError) as error:
            raise ReplicaError("cannot be reached", type(error).__name__) from None


def read_exactly(answer: requests.Response, length: int) -> bytes:
    """So many bytes; fewer where the answer ends before."""
    block = bytearray()
    while more := answer.raw.read(length - len(block)):
        block += more
    return bytes(block)


def find_spans(numbers: Sequence[int], most: int) -> list[tuple[int, int]]:
    """First and last of runs of neighbours, at most so many: the smallest gaps are bridged."""
    if not numbers:
        return []
    gaps = sorted((b - a for a, b in pairwise(numbers)), reverse=True)
    bridged = max(1, gaps[most - 1]) if len(gaps) >= most else 1
    spans = [(numbers[0], numbers[0])]
    for number in numbers[1:]:
        first, last = spans[-1]
        if number - last <= bridged:
            spans[-1] = (first, number)
        else:
            spans.append((number, number))
    return spans
