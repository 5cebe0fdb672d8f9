"""What the columns of a table are, by the names that people and vendors give them.

Three forms: one column a field; wide, with one column a field and symbol; and no header at all,
where the order of date, open, high, low, close, volume shows in the numbers.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from etl.contracts.files import PRICES
from etl.sources.files.zones import strip_zone

Row = Sequence[str | None]

# Field of ours → headers that people have, in letters alone; the first one found counts.
ENGLISH = {
    "timestamp": (
        "date tradedate tradingdate tradingday sessiondate pricedate quotedate businessdate traddt"
        " bizdt datetime timestamp gmttime localtime utctime opentime timeopen windowstart starttime"
        " candlebegintime dtyyyymmdd time day dt ts t snappedat unix unixtime unixtimestamp epoch"
        " closetime timeclose endtime windowend candleendtime barend"
    ),
    "time": "time tradetime",
    "symbol": (
        "symbol ticker tickers tickersymbol tckrsymb stocksymbol actsymbol tscode stock stockcode"
        " stockname sccode code instrument instrumentname security securityid securitycode scrip"
        " scripcode secid seccode ric mnemonic pair market currencypair asset contract identifier symbolcode"
    ),
    "series": "series sctysrs",
    "open": (
        "open openprice openingprice opnpric priceopen openingpriceinr firstprice first o op pxopen"
        " openprc"
    ),
    "high": "high highprice hghpric pricehigh dayhigh highestprice h hi max pxhigh highprc",
    "low": "low lowprice lwpric pricelow daylow lowestprice l lo min pxlow lowprc",
    "close": (
        "close closeprice closingprice clspric priceclose closelast closingpriceinr settle"
        " settlementprice settleprice price last lastprice closevalue c cl pxclose pxlast trdprc"
    ),
    "volume": (
        "quantidade volume vol v totalvolume tradedvolume tradingvolume volumetraded sharevolume dailyvolume"
        " tottrdqty ttltrdqnty ttltradgvol totaltradedquantity totaltradedqty tradedquantity"
        " tradedqty tradequantity noofshares noofshrs numberofshares nooftradedshares sharestraded"
        " noofsharestraded volumeinshares volumeshares quantity qty totalquantity basevolume"
        " volumebase volumefrom tickvolume tickvol pxvolume acvol acvoluns"
    ),
    "adj_close": "adjclose adjustedclose adjclosingprice closeadj closeadjusted adjcloseprice",
    "split": (
        "stocksplits splitcoefficient splitfactor splitratio stocksplit splits split ratiosplit"
    ),
    "split_to": "splitto numerator",
    "split_from": "splitfrom denominator",
    "dividend": "dividends dividendamount divcash exdividend dividend cashdividend cashamount",
}
# The big languages of Europe, whose dates begin with the day.
EUROPEAN = {
    "timestamp": (
        "datum fecha data tarih dato paivays handelstag datumzeit handelsdatum dia jour дата"
        " datumuhrzeit dateheure dateetheure fechahora fechayhora dataora datahora"
    ),
    "time": "zeit uhrzeit heure hora godzina czas ora tijd saat",
    "symbol": "symbole simbolo symbool wertpapier titel nazwa walor kurzel kuerzel valeur hisse",
    "open": (
        "eroffnung eroeffnung eroffnungskurs eroeffnungskurs erster eroffn eroffnet start anfang"
        " ouverture ouv premier coursouverture apertura aperturas abertura abert ap otwarcie"
        " kursotwarcia otwar openen opening openingskoers oppning oppningskurs acilis abre открытие откр"
    ),
    "high": (
        "hoch tageshoch hochst hochstkurs hoechst hoechstkurs hochster hochstpreis haut plushaut"
        " coursplushaut maximo maxima maxi alto max massimo najwyzszy najwyzsza kursmax maks hoog"
        " hoogste hogst hogstakurs yuksek максимум макс"
    ),
    "low": (
        "tief tagestief tiefst tiefstkurs tiefster niedrigst niedrig bas plusbas coursplusbas minimo"
        " minima mini bajo baixo min minimum najnizszy najnizsza kursmin laag laagste lagst"
        " lagstakurs dusuk минимум мин"
    ),
    "close": (
        "schluss schlusskurs schlus zuletzt letzter kurs cloture clot fermeture dernier coursdecloture"
        " cours cierre ultimo chiusura fechamento fech zamkniecie kurszamkniecia ostatnio zamkn slot"
        " slotkoers laatste stangning senast kapanis simdi precio prezzo kurskoncowy preis закрытие цена"
    ),
    "volume": (
        "stuecke stucke stuck stueck volumen handelsvolumen volumenstuck volumenes titres quantite"
        " volumi volumetitres wolumen wol obroty hacim hac omsatningantal antal объем"
        " umsatzstuck umsatzinstuck stuckumsatz gehandeltestuck gehandeltestucke"
    ),
    "adj_close": (
        "bereinigterschlusskurs schlussbereinigt clotureajustee cierreajustado adjschluss"
        " adjustierterschlusskurs"
    ),
    "split": "aktiensplits aktiensplit splitverhaltnis divisiones fractionnement",
    "dividend": "dividende dividenden dividendes dividendo dividendos dywidenda dywidendy",
}
ASIAN = {
    "timestamp": "日期 交易日期 时间 日付 날짜 일자",
    "symbol": "股票代码 代码 证券代码 銘柄コード 종목코드",
    "open": "开盘 开盘价 始値 시가",
    "high": "最高 最高价 高値 고가",
    "low": "最低 最低价 安値 저가",
    "close": "收盘 收盘价 終値 종가",
    "volume": "成交量 出来高 거래량",
}
LETTERS = str.maketrans(
    {"ł": "l", "ß": "ss", "ı": "i", "ø": "o", "$": "usd", "€": "eur", "£": "gbp", "₹": "inr"}
)


def fold(text: str) -> str:
    """The letters alone, without accents; Korean syllables stay whole."""
    parted = unicodedata.normalize("NFKD", text.lower().translate(LETTERS))
    return unicodedata.normalize("NFC", "".join(c for c in parted if c.isalpha()))


SPELLINGS = {
    name: tuple(map(fold, f"{words} {EUROPEAN.get(name, '')} {ASIAN.get(name, '')}".split()))
    for name, words in ENGLISH.items()
}
# Dates of events, in files of splits or dividends alone.
EVENT_DATES = ["exdate", "exdividenddate", "exeffdate", "effectivedate", "executiondate", "exdatum"]
EVENT_AMOUNTS = ("amount", "value", "cashamount", "dividendpershare")
LIKE_OURS = {
    "volume": r"vol(?!atil)|qty|trdqnty|umsatz|stuck|quantit|shares",
    "split": "split",
    "dividend": "divid|divcash",
    "adjusted close": "adj.*clos|clos.*adj",
}
MONEY = [
    "usd",
    "usdt",
    "usdc",
    "busd",
    "eur",
    "gbp",
    "inr",
    "jpy",
    "chf",
    "try",
    "brl",
    "krw",
    "cny",
    "cad",
    "aud",
    "pln",
    "turnover",
    "value",
    "currency",
]
CURRENCIES = MONEY[:-3]
# Volumes in other units than the instrument's own: thousands, lots.
SCALED = re.compile(
    r"(?<!\d)'?000|thousand|million|\b(mio|mln|tsd|lakhs?|crores?|lots?|hundreds?)\b|\((k|m|mm|bn)\)"
)
# What stands before `Open` and is no instrument: a column of its own kind, never the bar's price.
QUALIFIERS = frozenset(
    [
        *("adj", "adjusted", "unadj", "unadjusted", "split", "splitadjusted", "bid", "ask", "mid"),
        *("prev", "previous", "avg", "average", "mean", "price", "session", "week", "month"),
        *MONEY,
    ]
)
PAIR = re.compile(r"\(\s*'([^']*)'\s*,\s*'([^']*)'\s*\)")
IS_DATE = re.compile(
    r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?!\d).*|\d{4}[年년].*|(19|20)\d{6}([ T]?\d{4,6})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b.*"
    r"|\d{9,19}|\d{1,2}[-. ]?[A-Za-z]{3,9}\.?[-, ]+\d{2,4}.*|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}.*)\s*"
)
IS_NUMBER = re.compile(r"\s*[-+]?[$€£₹¥]?[\d.,' ]*\d[KMBT]?\s*", re.IGNORECASE)
IS_TIME = re.compile(r"\s*(\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?|0{1,6})\s*")
PACKED_TIME = re.compile(r"\s*([01]?\d|2[0-3])[0-5]\d([0-5]\d)?\s*")  # 93000 and 1600


@dataclass(frozen=True)
class Heads:
    """Where each field stands.

    columns: field → place. wide: symbol → the same, for tables with one column a field and symbol.
    lines: of the header, 0 without one. names: as they are written. spare: names of columns that
    look like a field but are not taken. name: a column of names, which may be symbols.
    """

    columns: dict[str, int]
    names: tuple[str, ...]
    lines: int = 1
    wide: dict[str, dict[str, int]] = field(default_factory=dict)
    spare: tuple[str, ...] = ()
    volumes: tuple[tuple[str, int], ...] = ()
    name: int | None = None
    is_day_first: bool = False
    doubled: tuple[str, ...] = ()  # prices of which there are two columns of one name

    @property
    def has_bars(self) -> bool:
        return bool(self.wide) or all(price in self.columns for price in PRICES)

    @property
    def score(self) -> int:
        """The more fields the better: how readings of one file by several delimiters compare."""
        return len(self.columns) + sum(map(len, self.wide.values())) + 10 * self.has_bars


@lru_cache(4096)
def normalize(header: str | None) -> str:
    """'1. open' → open, 'Adj Close**' → adjclose, '<VOL>' → vol, 'Höchst' → hochst."""
    text = re.sub(r"^\s*\d+[a-z]?\s*[.:]", "", (header or "").lower())
    word = fold(text)
    is_volume = word in SPELLINGS["volume"] or is_like("volume", word)
    return word + "scaled" * (is_volume and bool(SCALED.search(text)))


def find_heads(row: Row, below: Sequence[Row]) -> Heads | None:
    """What a header row says, with the rows below it; None if it is no header."""
    if sum(1 for cell in row if cell and not IS_NUMBER.fullmatch(cell)) < 2:
        return None  # a row of bars: the date alone is not a number
    return find_levels(row, below) or find_single(row, below) or find_joined(row)


def find_single(row: Row, below: Sequence[Row]) -> Heads | None:
    """One header line, one column a field."""
    first = below[0] if below else ()
    names = drop_currency([normalize(cell) for cell in row])
    columns = match_names(names)
    find_index(names, first, columns)
    drop_amounts(first, columns)
    if "timestamp" not in columns and (place := find_unnamed(names, first)) is not None:
        columns["timestamp"] = place
    has_bars = all(price in columns for price in PRICES)
    if "timestamp" not in columns and has_bars:
        place = find_zoned(row, "timestamp")
        columns |= {"timestamp": place} if place is not None else {}
    if not has_bars:
        match_events(names, columns)
    has_events = any(kind in columns for kind in ("split", "split_to", "dividend"))
    if "timestamp" not in columns or not (has_bars or has_events):
        return None
    if columns.get("time") == columns["timestamp"]:
        del columns["time"]
    if columns.get("symbol") is None and "isin" in names:
        columns["symbol"] = names.index("isin")
    volumes = () if "volume" in columns else find_volumes(row, names)
    return Heads(
        columns,
        tuple((cell or "").strip() for cell in row),
        spare=list_spare(row, names, set(columns.values())),
        doubled=tuple(p for p in PRICES if p in columns and names.count(names[columns[p]]) > 1),
        volumes=volumes,
        name=next((names.index(n) for n in ("name", "scname", "company") if n in names), None),
        is_day_first=is_european(names[place] for place in columns.values()),
    )


def describe_missing(row: Row) -> str | None:
    """What a header lacks, if it is one; None where it has no date or hardly a price."""
    columns = match_names([normalize(cell) for cell in row])
    missing = [name for name in PRICES if name not in columns]
    if "timestamp" not in columns or len(missing) > 2:
        return None
    return f"no column for {', '.join(missing)} among {', '.join(c or '' for c in row)[:200]}"


def match_names(names: Sequence[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for ours, spellings in SPELLINGS.items():
        place = next((names.index(s) for s in spellings if s in names), None)
        if place is not None and (ours == "time" or place not in columns.values()):
            columns[ours] = place
    return columns


def find_unnamed(names: Sequence[str], first: Row) -> int | None:
    """The index of a data frame that was saved without its name."""
    for place, name in enumerate(names):
        is_index = name in ("unnamed", "index", "indexlevel") or (name == "" and place < 2)
        if is_index and place < len(first) and IS_DATE.fullmatch(first[place] or ""):
            return place
    return None


def find_zoned(row: Row, field: str) -> int | None:
    """The place of a field whose header names a zone too: Time (UTC), datetime_et."""
    words = [normalize(strip_zone(cell or "")) for cell in row]
    return next((words.index(s) for s in SPELLINGS[field] if s in words), None)


def find_index(names: Sequence[str], first: Row, columns: dict[str, int]) -> None:
    """A column `Index` is that of a data frame, or names stock indices: ^N225."""
    place = names.index("index") if "index" in names else None
    if place is None or "timestamp" not in columns or "symbol" in columns:
        return
    if place < len(first) and re.match(r"\s*\^?[A-Za-z]", first[place] or ""):
        columns["symbol"] = place


def drop_amounts(first: Row, columns: dict[str, int]) -> None:
    """A column `market` with 7912000.5 in it is no instrument."""
    place = columns.get("symbol", len(first))
    if place < len(first) and re.fullmatch(r"\s*\d+[.,]\d+\s*", first[place] or ""):
        del columns["symbol"]


def drop_currency(names: Sequence[str]) -> list[str]:
    """`Open (EUR)` is the open; with prices in two currencies all stay as they are."""
    fields = {s for name in (*PRICES, "dividend") for s in SPELLINGS[name]}
    found = {name: name[-3:] for name in names if name[:-3] in fields and name[-3:] in CURRENCIES}
    if len(found) < len(PRICES) or len(set(found.values())) > 1 or set(names) & fields:
        return list(names)
    return [name[:-3] if name in found else name for name in names]


def match_events(names: Sequence[str], columns: dict[str, int]) -> None:
    """A file of splits or dividends: its own names of the day and of the amount."""
    for name in EVENT_DATES:
        if name in names:
            columns["timestamp"] = names.index(name)
            break
    is_of_dividends = any("div" in name or "paymentdate" in name for name in names)
    amount = next((names.index(n) for n in EVENT_AMOUNTS if n in names), None)
    if "split" not in columns and "ratio" in names:
        columns["split"] = names.index("ratio")
    if "dividend" not in columns and is_of_dividends and amount is not None:
        columns["dividend"] = amount


def find_volumes(row: Row, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """`Volume BTC`, `Volume USDT`: (the unit in letters, place) of each."""
    return tuple(
        (re.sub("^vol(umen?|umes)?(in)?", "", name), place)
        for place, name in enumerate(names)
        if name.startswith("vol") and not name.startswith("volat") and not name.endswith("scaled")
    )


def choose_volume(heads: Heads, symbol: str) -> int | None:
    """Of several volumes the one in units of the instrument; None where none is sure to be."""
    units = [(unit, place) for unit, place in heads.volumes if unit not in MONEY and unit != "ma"]
    own = [place for unit, place in heads.volumes if unit and symbol.lower().startswith(unit)]
    if len(own) == 1:
        return own[0]
    return units[0][1] if len(units) == 1 else None


def list_spare(row: Row, names: Sequence[str], taken: set[int]) -> tuple[str, ...]:
    """Columns that look like a field of ours, or belong to a second set of prices."""
    others = group_columns([split_name(cell or "") for cell in row], first=0)
    second = {place for columns in others.values() for place in columns.values()}
    return tuple(
        (row[place] or "").strip()
        for place, name in enumerate(names)
        if place not in taken
        and (place in second or any(is_like(kind, name) for kind in LIKE_OURS))
    )


def is_like(kind: str, name: str) -> bool:
    return bool(re.search(LIKE_OURS[kind], name))


def is_european(names: Iterable[str]) -> bool:
    words = {fold(word) for group in EUROPEAN.values() for word in group.split()}
    return any(name in words - {"data", "max", "min"} for name in names)


def to_field(name: str | None) -> str | None:
    """The field that a header is by itself, in the forms of yfinance and pandas."""
    word = normalize(name)
    fields = (*PRICES, "volume", "adj_close", "split", "dividend")
    return next((f for f in fields if word in SPELLINGS[f] and len(word) > 1), None)


def find_levels(row: Row, below: Sequence[Row]) -> Heads | None:
    """Two header lines, fields and symbols (yfinance, either on top), and often `Date` below."""
    if not below or len(row) < 5 or len(below[0]) < 5:
        return None
    above, under = [c or "" for c in row[1:]], [c or "" for c in below[0][1:]]
    if (below[0][0] or "").strip() and IS_DATE.fullmatch(below[0][0] or ""):
        return None
    pairs = list(zip(above, under, strict=False))
    if is_level(above, under):
        wide = group_columns((symbol, name) for name, symbol in pairs)
    elif is_level(under, above):
        wide = group_columns(pairs)
    else:
        return None
    third = below[1] if len(below) > 1 else ()
    has_third = bool(third) and not any((cell or "").strip() for cell in third[1:])
    return build_wide(wide, row, 3 if has_third else 2)


def is_level(fields: Sequence[str], symbols: Sequence[str]) -> bool:
    """Whether one line holds fields, all prices among them, and the other names of instruments."""
    found = {to_field(name) for name in fields}
    has_fields = all(price in found for price in PRICES)
    named = [s for s in symbols if s.strip()]
    return (
        has_fields
        and len(named) >= len(PRICES)
        and not any(to_field(s) for s in named)
        and not all(IS_NUMBER.fullmatch(s) for s in named)
        and not any("." in s and IS_NUMBER.fullmatch(s) for s in named)
    )


def group_columns(pairs: Iterable[tuple[str, str]], first: int = 1) -> dict[str, dict[str, int]]:
    """(symbol, header) of the columns from place `first` on → symbol → field → place."""
    wide: dict[str, dict[str, int]] = {}
    for place, (symbol, name) in enumerate(pairs, start=first):
        if symbol.strip() and (found := to_field(name)):
            wide.setdefault(symbol.strip(), {}).setdefault(found, place)
    return {s: columns for s, columns in wide.items() if all(p in columns for p in PRICES)}


def find_joined(row: Row) -> Heads | None:
    """One header line with field and symbol in each name: AAPL.Open, Close_AAPL, ('Low', 'A')."""
    wide = group_columns([split_name(cell or "") for cell in row], first=0)
    return build_wide(wide, row, 1) if wide else None


def split_name(header: str) -> tuple[str, str]:
    """(symbol, field) of a joined name; empty where it is none."""
    if pair := PAIR.fullmatch(header.strip()):
        first, second = pair[1], pair[2]
        return (second, first) if to_field(first) else (first, second)
    for mark in (".", "_", " ", "|", ":", "-"):
        first, found, second = header.partition(mark)
        if found and to_field(first) and not to_field(second) and fold(second) not in QUALIFIERS:
            return second, first
        first, found, second = header.rpartition(mark)
        if found and to_field(second) and not to_field(first) and fold(first) not in QUALIFIERS:
            return first, second
    return "", ""


def build_wide(wide: dict[str, dict[str, int]], row: Row, lines: int) -> Heads | None:
    names = tuple((cell or "").strip() for cell in row)
    words = [normalize(PAIR.sub(r"\1", name)) for name in names]
    spellings = (*SPELLINGS["timestamp"], "indexlevel")
    place = next((i for i, word in enumerate(words) if word in spellings), 0)
    return Heads({"timestamp": place}, names, lines, wide) if wide else None


def has_bar_order(row: Row, rows: Sequence[Row]) -> Heads | None:
    """A table without header: [symbol,] date, [time,] open, high, low, close[, volume].

    Taken only where every row keeps low <= open, close <= high, and not all four are equal.
    """
    place = next((i for i, cell in enumerate(row[:3]) if IS_DATE.fullmatch(cell or "")), None)
    if place is None:
        return None
    after = place + 1
    if after < len(row) and IS_TIME.fullmatch(row[after] or ""):
        return place_bars(row, rows, place, has_time=True)
    found = place_bars(row, rows, place, has_time=False)
    if not found and after < len(row) and PACKED_TIME.fullmatch(row[after] or ""):
        found = place_bars(row, rows, place, has_time=True)
    return found


def place_bars(row: Row, rows: Sequence[Row], place: int, has_time: bool) -> Heads | None:
    """The columns behind a date, where the numbers in them are those of bars."""
    columns = {"timestamp": place}
    if place:
        columns["symbol"] = 0
    if has_time:
        columns["time"] = place + 1
    after = place + 1 + has_time
    columns.update(zip(PRICES, range(after, after + 4), strict=True))
    if len(row) > after + 4 and IS_NUMBER.fullmatch(row[after + 4] or ""):
        columns["volume"] = after + 4
    bars = [[to_number(r[i]) for i in range(after, after + 4)] for r in rows if len(r) >= after + 4]
    is_ordered = all(None not in b and b[2] <= min(b) and b[1] >= max(b) for b in bars)  # type: ignore[operator,type-var]
    if not bars or not is_ordered or all(b[1] == b[2] for b in bars):
        return None
    return Heads(columns, (), 0)


def is_unread_header(row: Row, bars: Row) -> bool:
    """Words above the columns of bars: they may say another order than the usual one."""
    words = [c for c in row if fold(c or "") and not IS_DATE.fullmatch(c or "")]
    return len(words) >= 5 and abs(len(row) - len(bars)) <= 2


def to_number(text: str | None) -> float | None:
    cleaned = re.sub(r"[$€£₹¥\s]", "", text or "")
    try:
        return float(cleaned if "." in cleaned else cleaned.replace(",", "."))
    except ValueError:
        return None
