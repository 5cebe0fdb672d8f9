"""Bars of weeks and months beside those that a vendor made of the same days.

The recorded answers are not part of the project: RECORDED_PAYLOADS_DIR says where they are.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from api.bars.resample import number_periods, resample
from api.bars.series import PRICES, Series, Timestamps, slice_days

RECORDED = os.environ.get("RECORDED_PAYLOADS_DIR", "")
KINDS = {
    "Time Series (Daily)": "1d",
    "Weekly Time Series": "1wk",
    "Weekly Adjusted Time Series": "1wk",
    "Monthly Time Series": "1mo",
    "Monthly Adjusted Time Series": "1mo",
}


@dataclass(frozen=True)
class Answer:
    interval: str
    given_at: str
    series: Series  # a longer bar bears the day of its last session


def read_answers(folder: Path) -> Iterator[Answer]:
    """The recorded answers that have bars of a share, with volumes."""
    for path in sorted(folder.glob("*_*/*.json")):
        content = json.loads(path.read_text())
        for kind in KINDS.keys() & content.keys():
            rows = {day: name_columns(row) for day, row in content[kind].items()}
            if all("volume" in row for row in rows.values()):
                meta = content["Meta Data"]
                series = build_series(meta["2. Symbol"], rows)
                yield Answer(KINDS[kind], meta["3. Last Refreshed"], series)


def name_columns(row: dict[str, str]) -> dict[str, str]:
    return {name.partition(" ")[2]: value for name, value in row.items()}


def build_series(symbol: str, rows: dict[str, dict[str, str]]) -> Series:
    order = sorted(rows)
    days: Timestamps = np.array(order, "datetime64[s]")
    prices = (np.array([float(rows[day][name]) for day in order]) for name in PRICES)
    volume = np.ma.masked_array([int(rows[day]["volume"]) for day in order], False)
    return Series(symbol, "raw", days, *prices, volume)


def check_period(daily: Answer, longer: Answer, row: int) -> bool:
    """Whether the recorded days reach to the end of a recorded period; what is made of them is
    within it then, and equal to it where they are all of its sessions."""
    days, last = daily.series.days, longer.series.days[row]
    period = number_periods(longer.series.days, longer.interval)[row]
    own = days[(number_periods(days, longer.interval) == period) & (days <= last)]
    if not len(own) or own[-1] != last:
        return False
    made = resample(slice_days(daily.series, own[0].item(), last.item()), longer.interval)
    made_volume, volume = int(made.volume[0]), int(longer.series.volume[row])
    recorded = {name: getattr(longer.series, name)[row] for name in PRICES}
    assert made.low[0] >= recorded["low"]
    if daily.given_at == longer.given_at:  # a session still open moves on
        assert (made.close[0], made.high[0] <= recorded["high"]) == (recorded["close"], True)
        assert made_volume <= volume
    weekdays = np.arange(last - np.timedelta64(31, "D"), last + np.timedelta64(1, "D"))
    weekdays = weekdays[number_periods(weekdays, longer.interval) == period]
    if np.is_busday(weekdays).sum() == len(own):
        assert ({name: getattr(made, name)[0] for name in PRICES}, made_volume) == (
            recorded,
            volume,
        )
    return True


@pytest.mark.skipif(not RECORDED, reason="RECORDED_PAYLOADS_DIR is not set")
def test_longer_bars_are_those_that_the_vendor_made_as_far_as_its_days_are_recorded() -> None:
    answers = list(read_answers(Path(RECORDED)))
    compared = [
        (longer.interval, longer.series.symbol)
        for daily in answers
        for longer in answers
        if daily.interval == "1d" != longer.interval and daily.series.symbol == longer.series.symbol
        for row in range(len(longer.series))
        if check_period(daily, longer, row)
    ]
    assert {("1wk", "MSFT"), ("1mo", "MSFT"), ("1wk", "IBM"), ("1mo", "IBM")} <= set(compared)
