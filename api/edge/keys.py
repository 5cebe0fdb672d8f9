"""Keys and ETags of answers: pure.

The key begins with the version of what the answer depends on: of its symbols, or the generation. So
a publication makes unreachable what it changed without anyone telling this process, and nothing
else; there is no time to live. Only 200s are kept. Requests that share an answer
share a scope that was built from its key, so that none gets what was meant for another client.
"""

import hashlib

from api.edge.gate import Head


def build_etag(key: str) -> str:
    """Strong and quoted; the same in every process. It begins with the version, as the key does."""
    return f'"{key.partition(" ")[0]}-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"'


def matches(if_none_match: bytes, etag: str) -> bool:
    given = (part.strip().removeprefix("W/") for part in if_none_match.decode("latin-1").split(","))
    return any(part == etag for part in given)


def may_match(head: Head, etag: str) -> bool:
    """Whether If-Match, if there is one, names this answer: compared strongly."""
    given = head.get(b"if-match")
    if given is None or given.strip() == b"*":
        return True
    return etag in (part.strip() for part in given.decode("latin-1").split(","))
