"""Exchange sessions: the exchange of a symbol, its days and its closes."""

from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import exchange_calendars
import pytest

from etl import sessions
from tests.stores import list_sessions


@pytest.mark.parametrize(
    ("symbol", "exchange"),
    [
        ("AET.L", "XLON"),
        ("TSCO.LON", "XLON"),
        ("ALPHA.PA", "XPAR"),
        ("SPM.MI", "XMIL"),
        ("LA.V", "XTSE"),
        ("SHOP.TO", "XTSE"),
        ("SHOP.TRT", "XTSE"),
        ("MBG.DE", "XETR"),
        ("MBG.DEX", "XETR"),
        ("0700.HK", "XHKG"),
        ("7203.T", "XTKS"),
        ("BHP.AX", "XASX"),
        ("RELIANCE.BSE", "XBOM"),
        ("600104.SHH", "XSHG"),
        ("000002.SHZ", "XSHG"),
        ("PETR4.SAO", "BVMF"),
        ("005930.KS", "XKRX"),
        ("aet.l", "XLON"),
        ("BTC-USD", "24/7"),
        ("EURUSD=X", "24/5"),
        ("GC=F", "CMES"),
    ],
)
def test_the_form_of_a_symbol_names_its_exchange(symbol: str, exchange: str) -> None:
    assert sessions.find_exchange(symbol, "XNYS") == exchange


@pytest.mark.parametrize(
    "symbol", ["IBM", "BRK.B", "BRK-B", "BF.A", "RDS-A", "-P-HIZ", "^GSPC", ".L", "NA"]
)
def test_a_share_class_or_an_index_stays_at_the_default(symbol: str) -> None:
    assert sessions.find_exchange(symbol, "XNYS") == "XNYS"


@pytest.mark.parametrize(
    "exchange",
    sorted({*sessions.SUFFIXES.values(), *(exchange for _, exchange in sessions.FORMS)}),
)
def test_every_exchange_that_a_symbol_can_name_has_a_calendar(exchange: str) -> None:
    assert sessions.check_exchange(exchange) == exchange
    assert len(list_sessions(exchange, date(2022, 1, 1), date(2022, 12, 31))) > 230


def test_an_alias_is_known_by_its_mic() -> None:
    assert sessions.check_exchange("xnas") == "XNYS"


def test_an_unknown_exchange_is_answered_with_near_ones() -> None:
    with pytest.raises(ValueError, match="EXCHANGE=XLN: did you mean XLON"):
        sessions.check_exchange("XLN")
    with pytest.raises(ValueError, match="use a MIC"):
        sessions.check_exchange("????")


def test_a_calendar_that_cannot_be_built_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise NotImplementedError("implemented by subclasses")

    monkeypatch.setattr(exchange_calendars, "get_calendar", refuse)
    sessions.read_calendar.cache_clear()
    with pytest.raises(ValueError, match="The calendar of XOSL cannot be built"):
        list_sessions("XOSL", date(2020, 1, 1), date(2020, 1, 2))


def test_both_ends_of_a_list_are_inclusive_and_holidays_are_not_in_it() -> None:
    thanksgiving = list_sessions("XNYS", date(2012, 11, 21), date(2012, 11, 26))
    assert thanksgiving == [date(2012, 11, 21), date(2012, 11, 23), date(2012, 11, 26)]
    assert list_sessions("XNYS", date(2012, 10, 29), date(2012, 10, 30)) == []  # Sandy


def test_sessions_reach_far_back_and_ahead() -> None:
    assert list_sessions("XNYS", date(1969, 1, 1), date(1970, 1, 5)) == [
        date(1970, 1, 2),
        date(1970, 1, 5),
    ]
    assert list_sessions("XNYS", date(2035, 7, 3), date(2035, 7, 5))


def test_a_calendar_that_starts_late_has_no_sessions_before() -> None:
    assert list_sessions("XTKS", date(1990, 1, 1), date(1996, 12, 31)) == []
    assert list_sessions("XTKS", date(1997, 1, 1), date(1997, 1, 10))


def test_closes_are_utc_and_early_closes_are_early() -> None:
    assert sessions.list_closes("XNYS", date(2012, 11, 21), date(2012, 11, 23)) == [
        (date(2012, 11, 21), datetime(2012, 11, 21, 21, 0)),  # noqa: DTZ001
        (date(2012, 11, 23), datetime(2012, 11, 23, 18, 0)),  # noqa: DTZ001
    ]


@pytest.mark.parametrize(
    ("now", "session"),
    [
        (datetime(2012, 11, 23, 17, 59, tzinfo=UTC), date(2012, 11, 21)),
        (datetime(2012, 11, 23, 18, 0, tzinfo=UTC), date(2012, 11, 23)),  # an early close
        (datetime(2012, 11, 25, 12, 0, tzinfo=UTC), date(2012, 11, 23)),
        (datetime(2012, 11, 26, 20, 59, tzinfo=UTC), date(2012, 11, 23)),
        (datetime(2012, 11, 26, 16, 0, tzinfo=timezone(timedelta(hours=-5))), date(2012, 11, 26)),
    ],
)
def test_a_session_is_closed_from_its_close_on(now: datetime, session: date) -> None:
    assert sessions.last_closed_session("XNYS", now) == session


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        sessions.last_closed_session("XNYS", datetime(2012, 11, 23))  # noqa: DTZ001


def test_the_sessions_table_reaches_beyond_both_ends() -> None:
    connection = duckdb.connect()
    sessions.create_sessions(connection, ["XNYS", "XLON"], date(2012, 1, 4), date(2012, 1, 5))
    rows = connection.execute(
        "SELECT exchange, min(session), max(session) FROM sessions GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert rows == [
        ("XLON", date(2011, 12, 5), date(2012, 2, 3)),
        ("XNYS", date(2011, 12, 5), date(2012, 2, 3)),
    ]
    sessions.create_sessions(connection, [], date(2012, 1, 4), date(2012, 1, 5))
    assert connection.execute("SELECT count(*) FROM sessions").fetchall() == [(0,)]
