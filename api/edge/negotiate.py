"""api.edge.negotiate"""

import re

from api.encode.formats import FORMATS, Format
from api.encode.text import encode_json as encode_json

NO_MEDIA = "none"  # none of the formats that Accept names can be had


def choose_media(accept: bytes) -> str:
    """The format that Accept asks for, or NO_MEDIA."""
    if accept in (b"", b"*/*"):
        return "json"
    try:
        return choose_format(None, accept.decode("latin-1")).name
    except ValueError:
        return NO_MEDIA


def choose_coding(accepted: bytes) -> str:
    """gzip or identity, whichever Accept-Encoding likes better; of equals gzip.

    `gzip!` where identity is refused, so that short answers are compressed too; "" where both are.
    """
    if not accepted:
        return "identity"
    weights = read_codings(accepted.decode("latin-1").lower())
    packed = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    # identity that is not named may be had too, but is liked less than what is
    plain = weights.get("identity", 0.0 if weights.get("*") == 0 else None)
    if packed and (plain is None or packed >= plain):
        return "gzip!" if plain == 0 else "gzip"
    return "" if plain == 0 else "identity"


def read_codings(accepted: str) -> dict[str, float]:
    """coding → weight; one whose weight cannot be read counts as not wanted."""
    weights = {}
    for part in accepted.split(","):
        name, _, parameter = part.partition(";")
        if name := name.strip():
            weights[name] = read_weight(parameter)
    return weights


def read_weight(parameter: str) -> float:
    text = parameter.replace(" ", "")
    if not text:
        return 1.0
    try:
        weight = float(text.removeprefix("q="))
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


# Choosing.


def choose_format(name: str | None, accept: str | None) -> Format:
    """The format named, or else the one that Accept likes best (RFC 9110, 12.5.1).

    Of equals the first of FORMATS. Raises ValueError, which says what is possible.
    """
    if name is not None:
        if name not in FORMATS:
            raise ValueError(f"format={name}: possible are {', '.join(FORMATS)}")
        return FORMATS[name]
    ranges = read_accept(accept or "*/*")
    best = max(FORMATS.values(), key=lambda each: weigh(each, ranges))
    if not weigh(best, ranges):
        possible = ", ".join(dict.fromkeys(get_type(each) for each in FORMATS.values()))
        raise ValueError(f"Accept names none of the formats: possible are {possible}")
    return best


def get_type(each: Format) -> str:
    """The media type without its parameters."""
    return each.media_type.partition(";")[0]


def read_accept(accept: str) -> dict[str, float]:
    """media range → weight, 0 to 1. Parameters but q do not matter; what cannot be read is left
    out."""
    ranges = {}
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        weights = [each[2:] for each in parameters if each.startswith("q=")] or ["1"]
        if "/" in media_range and re.fullmatch(r"0?\.\d+|[01](\.0*)?", weights[0]):
            ranges[media_range] = float(weights[0])
    return ranges or {"*/*": 1.0}


def weigh(each: Format, ranges: dict[str, float]) -> float:
    """By the most specific range that fits: type/subtype, type/*, */*."""
    media_type = get_type(each)
    fitting = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    return next((ranges[name] for name in fitting if name in ranges), 0.0)
