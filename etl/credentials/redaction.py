"""No secret in what is written: each one that was handed out is struck, in any usual encoding.

Encodings: URL (once or more), JSON, Python and HTML escapes of some or all letters, base64 at any
place of a longer text, hexadecimal; in upper or lower case. The password of a URL is struck too,
and what has the form of a caller's key or token: of those no process remembers more than a hash.
"""

import base64
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

STRUCK = "***"
LEAST_ENCODED = 6  # bytes of a secret whose base64 is long enough to be told from other words
HTML = re.compile(r"&(?:\#|[a-z]{2,5};)")
# API key, refresh token and access token (JWT), as they are or in a URL; WORDS are in each of them.
WORDS = ("mdk", "mdr", "eyJ")
TOKEN = re.compile(r"md[kr](?:_|%5f)[\w%-]{8,}|eyJ[\w%-]{8,}(?:(?:\.|%2e)[\w%-]*)+", re.I)
IN_URL = re.compile(r"(?<=://)[^\s/@:\"']*:[^\s/@\"']+(?=@)")


@dataclass(frozen=True)
class Form:
    """How one secret may be written.

    spelled: letter by letter, each in any escape. encoded: as a whole. Both as patterns; needles:
    what stands in a text, in lower case, where one of them may be found without any escape.
    """

    secret: str
    spelled: re.Pattern[str]
    encoded: re.Pattern[str] | None
    needles: tuple[str, ...]

    def strike(self, text: str, lowered: str, has_escapes: bool) -> str:
        for needle in self.needles:  # faster than any()
            if needle in lowered:
                text = self.encoded.sub(STRUCK, text) if self.encoded else text
                return self.spelled.sub(STRUCK, text)
        return self.spelled.sub(STRUCK, text) if has_escapes else text


# Every secret that this process was ever given, the longest first: one may hold another.
known: list[Form] = []


def remember(secrets: Iterable[str]) -> None:
    """Strike these from now on. They are never forgotten: an old key may still be in use."""
    new = {secret for secret in secrets if secret} - {form.secret for form in known}
    if new:
        forms = [*known, *map(build_form, new)]
        # in one step: another thread may be striking
        known[:] = sorted(forms, key=lambda form: len(form.secret), reverse=True)


def strike(text: str) -> str:
    """The text without any secret that was ever handed out, and without any caller's token."""
    return strike_known(strike_tokens(text))


def strike_tokens(text: str) -> str:
    return TOKEN.sub(STRUCK, text) if any(word in text for word in WORDS) else text


def strike_known(text: str) -> str:
    """The text without the secrets that were handed out."""
    if "://" in text and "@" in text:
        text = IN_URL.sub(STRUCK, text)
    return strike_forms(text, list(known))


def redact(text: str, *secrets: str) -> str:
    """The text without these secrets, whether they were handed out or not."""
    return strike_forms(text, [build_form(secret) for secret in secrets if secret])


def strike_forms(text: str, forms: Iterable[Form]) -> str:
    lowered = text.lower()
    has_escapes = "%" in text or "\\" in text or ("&" in text and HTML.search(text) is not None)
    for form in forms:
        struck = form.strike(text, lowered, has_escapes)
        if struck != text:
            text, lowered = struck, struck.lower()
    return text


def build_form(secret: str) -> Form:
    encoded = sorted(encode(secret), key=len, reverse=True)
    needles = {secret, quote(secret, safe=""), quote_plus(secret), *encoded}
    return Form(
        secret,
        re.compile("".join(map(spell, secret))),
        re.compile("|".join(map(fold, encoded))) if encoded else None,
        tuple({needle.lower() for needle in needles}),
    )


def encode(secret: str) -> Iterable[str]:
    """The secret as hexadecimal, and what of it is sure to stand in a longer base64 text."""
    body = secret.encode("utf-8", "surrogatepass")
    if len(body) < LEAST_ENCODED:
        return
    yield body.hex()
    for before in range(3):
        first, last = -(-before * 8 // 6), (before + len(body)) * 8 // 6
        for altchars in (b"+/", b"-_"):
            yield base64.b64encode(bytes(before) + body, altchars).decode()[first:last]


def spell(letter: str) -> str:
    """A pattern of every way in which a letter may be written.

    Each way begins with a plain letter: so the engine leaps from one that fits to the next.
    """
    body = letter.encode("utf-8", "surrogatepass")
    code = ord(letter)
    ways = {letter, letter.lower(), letter.upper(), html.escape(letter)}
    patterns = [
        *map(re.escape, sorted(ways, key=len, reverse=True)),
        "".join("%(?:25)*" + fold(f"{byte:02x}") for byte in body),
        "".join(r"\\+x" + fold(f"{byte:02x}") for byte in body),
        r"\\+x" + fold(f"{code:02x}") if code < 256 else r"\\+U" + fold(f"{code:08x}"),
        spell_json(letter),
        rf"&(?:amp;)*\#(?:0*{code}|[xX]0*{fold(f'{code:x}')});",
        *([r"\+"] if letter == " " else []),
        *([] if letter.isalnum() else [rf"\\+{re.escape(letter)}"]),
    ]
    return f"(?:{'|'.join(patterns)})"


def spell_json(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(r"\\+u" + fold(units[i : i + 2].hex()) for i in range(0, len(units), 2))


def fold(text: str) -> str:
    """A pattern of the text in upper or lower case."""
    return "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else re.escape(c) for c in text)
