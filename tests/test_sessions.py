"""Exchange sessions: the exchange of a symbol, its days and its closes."""

import logging
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import duckdb
import exchange_calendars
import pytest

from etl import calendar_names, extract, load, transform, verify
from etl.calendar_names import ALIASES, CALENDARS
from etl.contracts.zones import ZONES
from etl.market import sessions
from etl.market.exchanges import PREFIXES, SUFFIXES, find_exchange
from etl.settings import SettingsError
from tests.conftest import call_stage, query_store
from tests.stores import list_sessions, load_answer, store_of


def find_all(symbols: str, default: str | None = "XNYS") -> set[str | None]:
    """The calendars of symbols that a blank parts."""
    return {find_exchange(symbol, default) for symbol in symbols.split()}


@pytest.mark.parametrize(
    ("symbols", "exchange"),
    [
        ("AET.L TSCO.LON BARC.UK aet.l", "XLON"),
        ("ALPHA.PA OR.PAR", "XPAR"),
        ("SPM.MI", "XMIL"),
        ("LA.V SHOP.TO SHOP.TRT RY.TRV BMO-PF.TO", "XTSE"),
        ("MBG.DE MBG.DEX SAP.XETRA", "XETR"),
        ("SAP.F 1COV.F", "XFRA"),
        ("0700.HK", "XHKG"),
        ("7203.T 7203.JP", "XTKS"),
        ("BHP.AX BHP.AU", "XASX"),
        ("RELIANCE.BSE TCS.NS M&M.NS INFY.BO", "XBOM"),
        ("600104.SHH 000002.SHZ 600519.SS 000001.SZ", "XSHG"),
        ("PETR4.SAO PETR4.SA", "BVMF"),
        ("005930.KS 035720.KQ", "XKRX"),
        ("2330.TW", "XTAI"),
        ("D05.SI", "XSES"),
        ("VOLV-B.ST", "XSTO"),
        ("NESN.SW", "XSWX"),
        ("CEZ.PR", "XPRA"),
        ("AAPL.US BRK-B.US NASDAQ:AAPL AAPL.OQ", "XNYS"),
        ("BTC-USD BTC/USD BTCUSDT BTC-USDT ETHEUR ETHBTC DOGE-EUR WIFUSDC X:BTCUSD", "24/7"),
        ("1INCHUSD SHIBUSDT.P SOL_USDT BTC-USD.CC BINANCE:ETHUSDT", "24/7"),
        ("EURUSD EURUSD=X EUR/USD EUR-USD JPY=X USDJPY XAUUSD GBPCHF EURUSD.FOREX", "24/5"),
        ("GC=F CL=F ESZ25.CME CL.F CL1! NYMEX:CL1!", "CMES"),
        ("CT=F KC=F", "IEPA"),
    ],
)
@pytest.mark.parametrize("default", ["XNYS", "XLON", "XTKS"])
def test_the_form_of_a_symbol_names_its_calendar_whatever_the_default(
    symbols: str, exchange: str, default: str
) -> None:
    assert find_all(symbols, default) == {exchange}


@pytest.mark.parametrize("default", ["XNYS", "XTSE", "XLON"])
def test_a_plain_name_and_a_share_class_stay_at_the_default(default: str) -> None:
    names = "IBM BRK.B BRK-B BF.A RDS.A RDS-A LEN.B -P-HIZ NA RELIANCE HYUNDAI GBTC BAC-PL CWEN.A"
    assert find_all(names, default) == {default}
    assert find_all("NYSE", "NASDAQ") == {"XNYS"}  # the default too may be given by another name


def test_a_preferred_share_is_of_north_america_whatever_letter_it_ends_with() -> None:
    names = "BMO.PR.F BCE.PR.T C.PR.V TD.PF.A BAC.PR.L BAC.PRL ENB.PR.T"
    assert find_all(names, "XNYS") == {"XNYS"}
    assert find_all(names, "XTSE") == {"XTSE"}
    assert find_all(names, "XLON") == {None}  # Canada or the United States: it cannot be told


@pytest.mark.parametrize("default", ["XNYS", "XLON"])
def test_an_index_or_a_suffix_that_is_not_listed_has_no_known_calendar(default: str) -> None:
    assert find_all("^FTSE ^N225 ^GSPC .DJI I:SPX GSPC.INDX", default) == {None}
    assert find_all("OPAP.AT TEVA.TA TLV.RO ABC.XYZ COMI.CA ODD:NAME", default) == {None}


NAMED = {*SUFFIXES.values(), *PREFIXES.values()}
USUAL = {"XNYS", "XLON", "XTKS", "XHKG", "24/7", "XPAR"} & NAMED


@pytest.mark.parametrize(
    "exchange",
    [
        *sorted(USUAL),  # to make a calendar takes a while
        *(pytest.param(name, marks=pytest.mark.long) for name in sorted(NAMED - USUAL)),
    ],
)
def test_every_exchange_that_a_symbol_can_name_has_a_calendar(exchange: str) -> None:
    assert calendar_names.check_exchange(exchange) == exchange
    assert len(list_sessions(exchange, date(2022, 1, 1), date(2022, 12, 31))) > 230


@pytest.mark.filterwarnings("ignore")  # it still uses what the newest pandas deprecates
def test_the_zones_kept_here_are_those_of_the_installed_calendars() -> None:
    assert set(ZONES) == CALENDARS
    for name in ("XASX", "XNZE", "XBOG", "CMES", "24/5", "BVMF"):
        assert str(exchange_calendars.get_calendar(name, start="2024-01-01").tz) == ZONES[name]


def test_the_names_kept_here_are_those_of_the_installed_calendars() -> None:
    assert set(exchange_calendars.get_calendar_names()) - CALENDARS - ALIASES.keys() == {
        *("ASEX", "XBEL", "XBSE", "XCYS", "XTAE", "us_futures"),  # the last is CMES or another
        *("BVB", "TASE"),
    }
    for name, calendar in ALIASES.items():
        assert (exchange_calendars.resolve_alias(name), calendar in CALENDARS) == (calendar, True)


def test_an_alias_is_known_by_its_mic() -> None:
    assert calendar_names.check_exchange("xnas") == "XNYS"


def test_an_unknown_exchange_is_answered_with_near_ones() -> None:
    with pytest.raises(ValueError, match="EXCHANGE=XLN: did you mean XLON"):
        calendar_names.check_exchange("XLN")
    with pytest.raises(ValueError, match="use a MIC"):
        calendar_names.check_exchange("????")


@pytest.mark.parametrize("name", ["XTAE", "asex"])
def test_a_calendar_that_the_installed_package_cannot_build_is_refused(name: str) -> None:
    with pytest.raises(
        SettingsError, match=f"EXCHANGE={name}: .* cannot be built .*choose another"
    ):
        calendar_names.check_exchange(name)


@pytest.mark.parametrize("name", ["XNSY", "XTAE"])
@pytest.mark.parametrize("stage", [extract, transform, load, verify])
def test_an_exchange_without_a_calendar_is_told_before_anything_runs(
    name: str,
    stage: ModuleType,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EXCHANGE", name)
    assert call_stage(stage.main) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: EXCHANGE={name}: ")
    assert not list(data_dir.glob("*"))


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


def test_bars_behind_a_calendars_end_are_neither_noted_nor_missed_and_the_log_says_so(
    data_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = [day for day in sessions.read_calendar("XNYS").sessions if day <= date(2024, 1, 5)]
    whole = sessions.read_calendar("XNYS")
    short = replace(whole, **{f.name: getattr(whole, f.name)[: len(end)] for f in fields(whole)})
    monkeypatch.setattr(sessions, "read_calendar", lambda name: short)
    monkeypatch.setattr(logging.getLogger("etl"), "propagate", True)
    days = ["2024-01-05", "2024-01-13", "2024-01-17"]  # a Saturday, and sessions missing
    load_answer(data_dir, "2024-06-03T12:00:00", *(("X", day, 5.0) for day in days))
    assert "sessions of XNYS are not known after 2024-01-05" in caplog.text
    assert (
        query_store(
            store_of(data_dir), "SELECT symbol FROM gaps UNION ALL SELECT symbol FROM bar_notes"
        )
        == []
    )
