"""Usual hours of each exchange: those of most of its sessions, on its own clock.

As TradingView's charts read them: hours parted by a comma around a break, from the evening before
where they begin later than they end, Monday to Friday unless days follow (1: Sunday). Which
session is shorter is a matter of the store's sessions, not of these.
"""

from functools import cache

_USUAL = """
0000-0000 24/5, 1100-1700 AIXK XBUE, 1000-1800 BVMF XIST, 1700-1600 CMES, 2000-1800 IEPA,
0900-1730 XAMS XBRU XETR XFRA XMAD XMIL XPAR XSTO XSWX XWBO, 1000-1600 XASX XLIT XRIS XTAL,
0900-1630 XBDA, 1000-1630 XBKK, 0930-1600 XBOG XNYS XSGO XTSE, 0915-1530 XBOM, 1100-1530 XBRA,
0900-1700 XBUD XCSE XJSE XKLS XSES XWAR, 0830-1515 XCBF, 0800-1628 XDUB,
0800-2200 XDUS XEUR XHAM, 0800-1800 XEEE, 1000-1830 XHEL, 0930-1200,1300-1600 XHKG,
0930-1530 XICE XPHS, 0900-1550 XIDX, 0932-1530 XKAR, 0900-1530 XKRX, 0900-1600 XLIM XZAG,
0800-1630 XLIS XLON, 0915-1515 XLJU, 0900-1740 XLUX, 0830-1500 XMEX, 1000-1845 XMOS,
1000-1645 XNZE, 0900-1620 XOSL XPRA, 1000-1500:12345 XSAU, 0930-1130,1300-1500 XSHG,
0730-2200 XSTU, 0900-1330 XTAI, 0900-1130,1230-1530 XTKS, 24x7 24/7"""

USUAL_HOURS = {
    calendar: hours
    for hours, *calendars in (entry.split() for entry in _USUAL.replace(",\n", ", ").split(", "))
    for calendar in calendars
}
DAY_MINUTES = 24 * 60
UNKNOWN_HOURS = "0930-1600"  # where no calendar is known: of a share, most probably


@cache
def count_minutes(calendar: str) -> int:
    """The minutes of a usual session, without its break."""
    hours = USUAL_HOURS.get(calendar, UNKNOWN_HOURS).partition(":")[0]
    if hours == "24x7":
        return DAY_MINUTES
    return sum(measure(part) for part in hours.split(","))


def measure(hours: str) -> int:
    """The minutes from 0930 to 1600; of hours that begin as late as they end a day, or less."""
    start, end = (int(text[:2]) * 60 + int(text[2:]) for text in hours.split("-"))
    return (end - start - 1) % DAY_MINUTES + 1
