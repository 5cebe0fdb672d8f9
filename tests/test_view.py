"""View: one value of what a request means, and the bars that it makes of what is stored."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest

from api.bars.view import (
    StoredSeries,
    View,
    build_bars_view,
    build_figures_view,
    derive_range,
    derive_ranges,
    derive_whole,
)
from api.models import BarsQuery, FigureQuery
from api.problems import Problem
from tests.prices import make_series
from tests.server import serve

SPLIT = (date(2020, 1, 6), 2.0)
DIVIDEND = (date(2020, 1, 8), 5.0)


def make_stored(symbol: str = "X", days: int = 14) -> StoredSeries:
    known_at = {"splits": datetime.fromisoformat("2020-02-01"), "dividends": None}
    return StoredSeries(make_series([100.0] * days, symbol), [SPLIT], [DIVIDEND], known_at)


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir) as client:
        yield client


def test_without_a_word_a_view_is_all_bars_as_traded() -> None:
    view, stored = View(("X",)), make_stored()
    assert view.is_plain
    assert derive_range(view, stored).close.tolist() == [100.0] * 14


@pytest.mark.parametrize(
    "asked",
    [
        {"interval": "1wk"},
        {"adjustment": "split"},
        {"as_of": datetime.fromisoformat("2020-01-01")},
        {"quality": "strict"},
        {"fields": ("close",)},
    ],
    ids=str,
)
def test_a_view_that_asks_for_other_bars_is_not_plain(asked: dict[str, object]) -> None:
    assert not View(("X",))._replace(**asked).is_plain


def test_factors_and_periods_need_the_bars_outside_of_the_range() -> None:
    view = View(("X",), date(2020, 1, 1), date(2020, 1, 5), adjustment="split")
    assert derive_range(view, make_stored()).close.tolist() == [50.0] * 5
    weekly = View(("X",), date(2020, 1, 6), date(2020, 1, 8), interval="1wk")
    assert derive_range(weekly, make_stored()).volume.tolist() == [7000]


def test_a_view_adjusts_for_what_was_known_on_its_day() -> None:
    view = View(("X",), adjustment="split", adjusted_as_of=date(2020, 1, 5))
    assert derive_whole(view, make_stored()).close.tolist() == [100.0] * 14


def test_a_view_says_what_its_adjustment_stands_on() -> None:
    split = derive_whole(View(("X",), adjustment="split"), make_stored())
    assert (split.actions_known_at, split.never_asked) == ("2020-02-01T00:00:00Z", ())
    both = derive_whole(View(("X",), adjustment="all"), make_stored())
    assert (both.actions_known_at, both.never_asked) == ("", ("dividends",))
    raw = derive_whole(View(("X",)), make_stored())
    assert (raw.actions_known_at, raw.never_asked) == ("", ())


def test_several_symbols_have_one_view() -> None:
    view = View(("B", "A"), date(2020, 1, 3))
    found = derive_ranges(view, [make_stored("B"), make_stored("A", 4)])
    assert [(part.symbol, len(part)) for part in found] == [("B", 12), ("A", 2)]


def test_what_has_no_meaning_is_no_view() -> None:
    with pytest.raises(Problem, match="swap them"):
        build_figures_view(["X"], FigureQuery(start=date(2020, 1, 2), end=date(2020, 1, 1)))
    with pytest.raises(Problem, match="interval=1d only"):
        build_bars_view(["X"], BarsQuery(quality="strict", interval="1wk"))
    with pytest.raises(Problem, match="possible are"):
        build_bars_view(["X"], BarsQuery(fields="price"))


def to_time(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("interval", "resolution"), [("1d", "1D"), ("1wk", "1W"), ("1mo", "1M"), ("3mo", "3M")]
)
def test_every_protocol_has_the_same_bars_of_one_view(
    client: httpx.Client, interval: str, resolution: str
) -> None:
    asked = {"interval": interval, "adjustment": "split", "end": "2005-06-30"}
    rows = client.get("/instruments/AAPL/ohlcv", params=asked).json()["data"]
    times = {"from": 0, "to": to_time("2005-07-01"), "resolution": resolution}
    chart = client.get("/udf/history", params={"symbol": "AAPL", **times}).json()
    widget = client.get("/openbb/bars", params={"symbol": "AAPL", **asked}).json()[::-1]
    several = client.get("/ohlcv", params={"symbols": "AAPL", **asked}).json()["data"]
    assert len(rows) > 20
    assert [row["close"] for row in rows] == chart["c"]
    assert [to_time(row["timestamp"]) for row in rows] == chart["t"]
    names = ("timestamp", "open", "high", "low", "close", "volume")
    expected = [[row[name] for name in names] for row in rows]
    assert [[row[name] for name in names] for row in widget] == expected
    assert [[row[name] for name in names] for row in several] == expected
