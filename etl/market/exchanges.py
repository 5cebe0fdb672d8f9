"""Which exchange, and so which calendar, a symbol has."""

import re

from etl.calendar_names import read_words, resolve_name

# Suffix of a symbol, as Yahoo, Alpha Vantage, Stooq, EODHD or Reuters write it → calendar. TSX
# Venture, NSE and the small German floors have no calendar of their own: they keep the days of the
# one named here. Athens, Tel Aviv, Bucharest and Cyprus are left out: the installed
# exchange_calendars cannot build theirs.
SUFFIXES = {
    suffix: calendar
    for calendar, suffixes in {
        "XNYS": "US NYSE NASDAQ AMEX ARCA BATS OTC OTCQB OTCQX PINK PK OB N O OQ",
        "XTSE": "TO TRT TSX V TRV TSXV CN NE NEO",
        "XMEX": "MX",
        "BVMF": "SA SAO",
        "XBUE": "BA BUE",
        "XSGO": "SN",
        "XLIM": "LM LIM",
        "XBOG": "CL",
        "XLON": "L LON LSE LN UK IL XC",
        "XDUB": "IR",
        "XPAR": "PA PAR",
        "XAMS": "AS AMS",
        "XBRU": "BR BRU",
        "XLIS": "LS LIS",
        "XMIL": "MI MIL",
        "XMAD": "MC",
        "XETR": "DE DEX XETRA",
        "XFRA": "F FRK MU BE HA",
        "XHAM": "HM",
        "XDUS": "DU",
        "XSTU": "SG STU",
        "XSWX": "SW SWX VX",
        "XWBO": "VI",
        "XSTO": "ST STO",
        "XHEL": "HE HEL",
        "XCSE": "CO CPH",
        "XOSL": "OL OSL",
        "XICE": "IC",
        "XTAL": "TL",
        "XRIS": "RG",
        "XLIT": "VS",
        "XWAR": "WA WAR",
        "XPRA": "PR",
        "XBUD": "BD BUD HU",
        "XLUX": "LU",
        "XZAG": "ZSE",
        "XLJU": "LJ LJSE",
        "XIST": "IS",
        "XMOS": "ME",
        "XJSE": "JO JSE JNB",
        "XSAU": "SR SAU",
        "XKAR": "KA KAR",
        "XBOM": "NS NSE BO BSE",
        "XSHG": "SS SHH SHG SZ SHZ SHE",
        "XHKG": "HK HKG",
        "XTAI": "TW TWO",
        "XTKS": "T TYO TSE JP",
        "XKRX": "KS KQ KO",
        "XSES": "SI SES",
        "XIDX": "JK",
        "XKLS": "KL KLSE",
        "XBKK": "BK",
        "XPHS": "PS",
        "XASX": "AX XA AU ASX",
        "XNZE": "NZ",
        "CMES": "CME CBT CBOT CMX NYM",
        "IEPA": "NYB",
        "24/5": "FOREX FX",
        "24/7": "CC",
    }.items()
    for suffix in suffixes.split()
}
# What stands behind a dot or a dash and names a class of share, not a place.
CLASSES = read_words("A B C D E G H K R U W Z UN WS WT RT WI")
# BMO.PR.F, TD.PF.A, XYZ.DB.B: a preferred share or another paper of a North American company.
SERIES_FORM = re.compile(r"[A-Z0-9]+(\.(P[A-Z]|DB|NT|RT|WS|WT)\.[A-Z]|\.PR[A-Z])")
NORTH_AMERICA = ("XNYS", "XTSE")

# Before the colon: TradingView's names, and Polygon's for crypto, currencies and indices.
PREFIXES = {
    **dict.fromkeys(("AMEX", "ARCA", "CBOE", "OTC"), "XNYS"),
    **dict.fromkeys(("TSXV", "CSE", "NEO"), "XTSE"),
    **dict.fromkeys(("CME_MINI", "CBOT_MINI", "NYMEX_MINI", "COMEX_MINI"), "CMES"),
    **dict.fromkeys(("FX", "FX_IDC", "OANDA", "FOREXCOM", "C"), "24/5"),
    **dict.fromkeys(("BINANCE", "COINBASE", "KRAKEN", "BITSTAMP", "BITFINEX", "CRYPTO"), "24/7"),
    **dict.fromkeys(("BYBIT", "OKX", "KUCOIN", "GEMINI", "X"), "24/7"),
    **{"TSE": "XTKS", "SZSE": "XSHG", "NSE": "XBOM", "MIL": "XMIL", "BME": "XMAD", "KRX": "XKRX"},
}

# ISO 4217, with gold, silver, platinum and palladium: what is traded 24/5.
CURRENCIES = read_words(
    """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP
    BYN BZD CAD CDF CHF CLF CLP CNH CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP
    GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS
    KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
    MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD
    SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
    USD UYU UZS VES VND VUV WST XAF XAG XAU XCD XOF XPD XPF XPT YER ZAR ZMW"""
)
# Coins that have no other meaning in front of a currency, where nothing stands between.
COINS = read_words(
    """1INCH AAVE ADA AGIX AKT ALGO ANKR APE APT AR ARB ATOM AVAX AXS BAL BAT BCH BNB BONK BSV BTC
    BTG BTT CAKE CELO CHZ COMP CRO CRV CVX DAI DASH DCR DOGE DOT DYDX EGLD ENJ ENS EOS ETC ETH ETHW
    FET FIL FLOKI FLOW FTM FTT GALA GMX GRT HBAR HNT ICP ICX IMX INJ IOTA JASMY JUP KAS KAVA KDA KSM
    LDO LINK LRC LTC LUNA LUNC MANA MATIC MINA MKR MNT NEAR NEO NEXO OCEAN OKB OM OMG ONDO ONE OP
    ORDI PEPE POL PYTH QNT QTUM RNDR ROSE RPL RUNE RVN SAND SEI SHIB SNX SOL STETH STORJ STRK STX
    SUI SUSHI TAO THETA TIA TON TRUMP TRX TUSD UNI USDC USDT VET WAVES WBTC WIF WLD XBT XDC XEM XLM
    XMR XRP XTZ YFI ZEC ZEN ZIL ZRX"""
)
STABLE = "USDT|USDC|BUSD|FDUSD|TUSD|USDD"
QUOTES = read_words("USD EUR GBP JPY CAD AUD CHF KRW TRY BRL INR PLN RUB ZAR MXN BTC ETH BNB XBT")
CRYPTO_FORMS = tuple(
    re.compile(form)
    for form in (
        # parted: whatever the coin
        rf"[A-Z0-9]{{1,15}}[-/_]({STABLE}|DAI|PERP|{'|'.join(sorted(QUOTES))})([-_.](P|PERP|SWAP))?",
        # in one piece: whatever the coin, for no share ends so
        rf"[A-Z0-9]{{2,15}}({STABLE})(\.P|[-_]PERP)?",
        r"[A-Z0-9]{3,15}USD(\.P|[-_]PERP)?",
    )
)
CURRENCY_FORM = re.compile(r"([A-Z]{3})[-/_.]?([A-Z]{3})")
# Futures on currencies, metals, energy, grain, meat, rates and indices, as Yahoo and Stooq name
# their first month. Stooq writes CL.F, which would be Frankfurt.
FUTURES = read_words(
    """CL NG HO RB BZ QM GC SI HG PL PA MGC SIL ES NQ YM RTY MES MNQ MYM M2K NKD ZC ZS ZW ZL ZM ZO
    ZR KE LE HE GF ZB ZN ZF ZT UB TN GE SR3 6A 6B 6C 6E 6J 6M 6N 6S BTC MBT"""
)
ICE_FUTURES = read_words("CC CT DX KC OJ SB")
FUTURE_FORM = re.compile(r"([A-Z0-9]{1,8}?)(=F|\.F|\d?!)")
# CLK20, ESZ2025: root, month and year.
CONTRACT_FORM = re.compile(r"([A-Z0-9]{1,3})[FGHJKMNQUVXZ](\d{2}|20\d{2})")
INDEX_FORM = re.compile(r"[\^$.].*|I:.*|.*\.(INDX|INDEX)")


def find_exchange(symbol: str, default: str | None) -> str | None:
    """The calendar that a symbol's form names; `default` (EXCHANGE) where it names none.

    AET.L → XLON, AAPL.US → XNYS, BTC-USD and BTCUSDT → 24/7, EURUSD → 24/5. A plain name and a
    class of share (IBM, BRK.B, BRK-B) follow `default`. None: the calendar is not known, as that
    of an index (^GSPC) or of a suffix that is not listed here (OPAP.AT).
    """
    symbol = symbol.strip().upper()
    if INDEX_FORM.fullmatch(symbol):
        return None
    prefix, colon, _ = symbol.partition(":")
    if colon:
        return resolve_name(prefix) or PREFIXES.get(prefix)
    return find_traded_at(symbol) or find_listed_at(symbol, default and resolve_name(default))


def find_traded_at(symbol: str) -> str | None:
    """The calendar of a currency pair, a pair of coins or a future; None: it is none of them."""
    future = FUTURE_FORM.fullmatch(symbol)
    if future and (future[2] != ".F" or future[1] in FUTURES | ICE_FUTURES):
        return "IEPA" if future[1] in ICE_FUTURES else "CMES"
    contract = CONTRACT_FORM.fullmatch(symbol)
    if contract and contract[1] in FUTURES:
        return "CMES"
    if is_crypto(symbol.removesuffix("=X")):
        return "24/7"
    return "24/5" if symbol.endswith("=X") or is_currency_pair(symbol) else None


def is_currency_pair(symbol: str) -> bool:
    """EURUSD, EUR/USD, EUR-USD, XAUUSD."""
    pair = CURRENCY_FORM.fullmatch(symbol)
    return pair is not None and {pair[1], pair[2]} <= CURRENCIES


def is_crypto(symbol: str) -> bool:
    """BTC-USD, BTC/USDT, BTCUSDT, ETHEUR, ETHBTC; but not EUR-USD or EURUSD."""
    if is_currency_pair(symbol):
        return False
    if any(form.fullmatch(symbol) for form in CRYPTO_FORMS):
        return True
    return symbol[:-3] in COINS and symbol[-3:] in QUOTES


def find_listed_at(symbol: str, default: str | None) -> str | None:
    """The calendar of a share by its suffix."""
    if SERIES_FORM.fullmatch(symbol):
        return default if default in NORTH_AMERICA else None
    _, dot, suffix = symbol.rpartition(".")
    if not dot or suffix in CLASSES:
        return default
    return SUFFIXES.get(suffix)


# Forms of what may trade at zero or below: futures, rates and yields, differences of two prices.
CONTRACT = r"[A-Z0-9]{1,3}[FGHJKMNQUVXZ](\d{2}|20\d{2})"
SIGNED_FORMS = "|".join(
    (
        r"[A-Z0-9]{1,8}(=F|\d?!)",
        rf"({'|'.join(sorted(FUTURES | ICE_FUTURES))})\.F",
        rf"{CONTRACT}(\.(CME|CBT|CBOT|CMX|NYM|NYB))?",
        r"\^(IRX|FVX|TNX|TYX)",
        r"\^?[A-Z]{2}\d{1,2}[YM]T?(=RR)?|\d{1,2}[A-Z]{2}Y\.B",  # US10Y, DE10YT=RR, 10DEY.B
        r"DGS\d+|DTB\d+|DFII\d+|DFF|EFFR|SOFR|ESTR|EONIA|FEDFUNDS|EURIBOR\w*",
        r"T\d+Y(\d+[YM]|IE|FF)|.*(SPREAD|SPRD).*",
        rf"({CONTRACT}|[A-Z]{{1,3}}\d{{1,2}}|.+(=F|!))-({CONTRACT}|[A-Z]{{1,3}}\d{{1,2}}|.+(=F|!))",
    )
)
