"""Which calendar a symbol keeps, as far as its form tells.

Pure text: nothing is looked up, and no calendar is built. One function, `find_exchange`, answers
for the plan, the gaps, the notes and the API. Where a form names a place that has no calendar here,
or no place at all (an index), the answer is None: no session is expected, and none is missed.
"""

import difflib

from etl.settings import SettingsError


def read_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The calendars that the installed exchange_calendars can build, and the names that mean one of
# them. Kept here, so that a name is checked without importing pandas.
CALENDARS = read_words(
    """24/5 24/7 AIXK BVMF CMES IEPA XAMS XASX XBDA XBKK XBOG XBOM XBRA XBRU XBUD XBUE XCBF XCSE
    XDUB XDUS XEEE XETR XEUR XFRA XHAM XHEL XHKG XICE XIDX XIST XJSE XKAR XKLS XKRX XLIM XLIS XLIT
    XLJU XLON XLUX XMAD XMEX XMIL XMOS XNYS XNZE XOSL XPAR XPHS XPRA XRIS XSAU XSES XSGO XSHG XSTO
    XSTU XSWX XTAI XTAL XTKS XTSE XWAR XWBO XZAG"""
)
ALIASES = {
    **dict.fromkeys(("NYSE", "NASDAQ", "BATS", "XNAS", "ARCX", "OOTC", "XASE"), "XNYS"),
    **dict.fromkeys(("CME", "CBOT", "COMEX", "NYMEX"), "CMES"),
    **dict.fromkeys(("ICE", "ICEUS", "NYFE"), "IEPA"),
    **{"XTSX": "XTSE", "TSX": "XTSE", "FWB": "XFRA", "LSE": "XLON", "BMF": "BVMF", "CFE": "XCBF"},
    **{"JKT": "XIDX", "SIX": "XSWX", "JPX": "XTKS", "ASX": "XASX", "HKEX": "XHKG", "OSE": "XOSL"},
    **{"BSE": "XBOM", "SSE": "XSHG", "LUXSE": "XLUX"},
}


def resolve_name(name: str) -> str | None:
    """The calendar that a name means (XNAS → XNYS); None where there is none here."""
    name = name.strip().upper()
    return name if name in CALENDARS else ALIASES.get(name)


class UnknownExchange(SettingsError, ValueError):
    """No calendar of that name; the message names near ones."""


def check_exchange(name: str) -> str:
    """The name under which the exchange is known here (xnas → XNYS).

    Raises UnknownExchange where there is no such calendar, or it cannot be built.
    """
    if known := resolve_name(name):
        return known
    import exchange_calendars  # it brings pandas: only to say what is wrong with an odd name

    wanted = name.strip().upper()
    names = {known.upper(): known for known in exchange_calendars.get_calendar_names()}
    if wanted not in names:
        raise UnknownExchange(f"EXCHANGE={name}: {name_near(wanted)}")
    known = str(exchange_calendars.resolve_alias(names[wanted]))
    if known not in CALENDARS:
        raise UnknownExchange(
            f"EXCHANGE={name}: the calendar of {known} cannot be built by the installed"
            " exchange_calendars: choose another"
        )
    return known


def name_near(wanted: str) -> str:
    """What may have been meant."""
    near = difflib.get_close_matches(wanted, sorted({*CALENDARS, *ALIASES}), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else "use a MIC, as XNYS or XLON"
