"""Files as vendors, spreadsheets and programs write them: each bar comes out as it is meant."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from etl import extract, transform
from tests.conftest import call_stage

H = "Date,Open,High,Low,Close,Volume\n"
Bar = tuple[Any, ...]

# file → what is in it, and its bars: (symbol, day, open, high, low, close, volume).
TEXTS: dict[str, tuple[str, list[Bar]]] = {
    # Headers
    "yfinance/KO.csv": (
        "Price,Close,High,Low,Open,Volume\nTicker,KO,KO,KO,KO,KO\nDate,,,,,\n"
        "2023-03-01,59.5,60.25,59.0,60.0,1200\n2023-03-02,60.5,61.0,59.5,59.75,1300\n",
        [
            ("KO", "2023-03-01", 60.0, 60.25, 59.0, 59.5, 1200),
            ("KO", "2023-03-02", 59.75, 61.0, 59.5, 60.5, 1300),
        ],
    ),
    "yfinance/two_by_ticker.csv": (
        "Ticker,GE,GE,GE,GE,GE,F,F,F,F,F\n"
        "Price,Open,High,Low,Close,Volume,Open,High,Low,Close,Volume\n"
        "Date,,,,,,,,,,\n"
        "2023-03-01,10,12,9,11,500,20,22,19,21,600\n2023-03-02,10,12,9,11,500,,,,,\n",
        [
            ("F", "2023-03-01", 20, 22, 19, 21, 600),
            ("GE", "2023-03-01", 10, 12, 9, 11, 500),
            ("GE", "2023-03-02", 10, 12, 9, 11, 500),
        ],
    ),
    "yfinance/old_two_levels.csv": (
        ",Adj Close,Adj Close,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume\n"
        ",T,VZ,T,VZ,T,VZ,T,VZ,T,VZ,T,VZ\nDate,,,,,,,,,,,,\n"
        "2020-02-03,1,2,11,21,12,22,9,19,10,20,500,600\n",
        [("T", "2020-02-03", 10, 12, 9, 11, 500), ("VZ", "2020-02-03", 20, 22, 19, 21, 600)],
    ),
    "quantmod.csv": (
        '"","PEP.Open","PEP.High","PEP.Low","PEP.Close","PEP.Volume","PEP.Adjusted"\n'
        '"2015-06-01",10,12,9,11,500,8\n',
        [("PEP", "2015-06-01", 10, 12, 9, 11, 500)],
    ),
    "ORCL.csv": (  # an index without a name
        ",Open,High,Low,Close,Volume\n2004-08-23,10,12,9,11,500\n",
        [("ORCL", "2004-08-23", 10, 12, 9, 11, 500)],
    ),
    "macrotrends_CAT.csv": (
        'Macrotrends Data Download\n\n"Disclaimer, and terms of use"\n\n\n'
        "date,open,high,low,close,volume\n2012-02-01,10,12,9,11,500\n",
        [("CAT", "2012-02-01", 10, 12, 9, 11, 500)],
    ),
    "excel/DHR.csv": (
        "sep=;\nDate;Open;High;Low;Close;Volume\n2012-02-01;10,5;12,5;9,5;11,5;1.500\n",
        [("DHR", "2012-02-01", 10.5, 12.5, 9.5, 11.5, 1500)],
    ),
    "bhav/sec_bhavdata_full.csv": (
        "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE,"
        " CLOSE_PRICE, AVG_PRICE, TTL_TRD_QNTY, TURNOVER_LACS\n"
        "TCS, EQ, 02-Jan-2023, 3, 10, 12, 9, 11.5, 11, 10, 500, 7\n"
        "NHAI, N5, 02-Jan-2023, 3, 20, 22, 19, 21.5, 21, 20, 600, 7\n",
        [
            ("NHAI-N5", "2023-01-02", 20, 22, 19, 21, 600),
            ("TCS", "2023-01-02", 10, 12, 9, 11, 500),
        ],
    ),
    "euronext.csv": (
        '"Historical Data"\n"From 2023-01-02"\nISIN\nTOTAL\n'
        "Date;Open;High;Low;Last;Close;Number of Shares;Turnover;Symbol\n"
        "13/01/2023;10.5;12.5;9.5;11;11.25;500;99;MC.PA\n",
        [("MC.PA", "2023-01-13", 10.5, 12.5, 9.5, 11.25, 500)],
    ),
    # Heads of other languages, whose dates begin with the day
    "ariva/wkn_716460_historic.csv": (
        "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen\n"
        "2023-01-03;98,54;99,10;97,80;98,70;25.413;2.508.263\n",
        [("716460", "2023-01-03", 98.54, 99.1, 97.8, 98.7, 25413)],
    ),
    "onvista/BAS.csv": (
        "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen\n03.02.2023;50,1;51,2;49,9;50,8;2.541.332\n",
        [("BAS", "2023-02-03", 50.1, 51.2, 49.9, 50.8, 2541332)],
    ),
    "boursorama/AIR.csv": (
        "date\touv\thaut\tbas\tclot\tvol\n04/02/2023\t110,5\t112\t109,5\t111,25\t1 250 300\n",
        [("AIR", "2023-02-04", 110.5, 112, 109.5, 111.25, 1250300)],
    ),
    "bolsa/ITX.csv": (
        '"Fecha","Último","Apertura","Máximo","Mínimo","Vol.","% var."\n'
        '"05.02.2023","27,15","26,90","27,30","26,80","1,25M","0,40%"\n',
        [("ITX", "2023-02-05", 26.9, 27.3, 26.8, 27.15, 1250000)],
    ),
    "stooq/pkn_d.csv": (
        "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen\n2023-02-06,65.1,66,64.5,65.5,900\n",
        [("PKN", "2023-02-06", 65.1, 66, 64.5, 65.5, 900)],
    ),
    "yfinance/numbered.csv": (  # reset_index, saved with the numbers of its rows
        "Price,Date,Close,High,Low,Open,Volume\nTicker,,PFE,PFE,PFE,PFE,PFE\n"
        "0,2023-03-01,59.5,60.25,59.0,60.0,1200\n1,2023-03-02,60.5,61.0,59.5,59.75,1300\n",
        [
            ("PFE", "2023-03-01", 60.0, 60.25, 59.0, 59.5, 1200),
            ("PFE", "2023-03-02", 59.75, 61.0, 59.5, 60.5, 1300),
        ],
    ),
    "terminal/WMT.csv": (
        "Date,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME\n2023-01-09,10,12,9,11,500\n",
        [("WMT", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    "currency/TGT.csv": (
        "Date,Open (EUR),High (EUR),Low (EUR),Close (EUR),Volume (EUR),Volume\n"
        "2023-01-09,10,12,9,11,5500,500\n",
        [("TGT", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    "indices.csv": (
        "Index,Date,Open,High,Low,Close,Volume,CloseUSD\n"
        "N225,2023-01-09,10,12,9,11,500,1\nGDAXI,2023-01-09,20,22,19,21,600,2\n",
        [("GDAXI", "2023-01-09", 20, 22, 19, 21, 600), ("N225", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    "metastock/cdr.txt": (
        "<TICKER>,<DTYYYYMMDD>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>\nCDR,20230109,10,12,9,11,500\n",
        [("CDR", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    "frankfurt/DTE.csv": (
        "Datum;Schluss;Eröffnung;Hoch;Tief;Umsatz (€);Umsatz (Stück)\n"
        "09.01.2023;11,5;10,5;12,5;9,5;5.500,75;500\n",
        [("DTE", "2023-01-09", 10.5, 12.5, 9.5, 11.5, 500)],
    ),
    "RHM Historische Daten.csv": (
        '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"\n'
        '"09.01.2023","1.211,50","1.210,00","1.212,00","1.209,00","12,3M","0,1%"\n',
        [("RHM", "2023-01-09", 1210, 1212, 1209, 1211.5, 12300000)],
    ),
    "LKOH - Прошлые данные.csv": (
        '"Дата","Цена","Откр.","Макс.","Мин.","Объём","Изм. %"\n'
        '"09.01.2023","11,5","10,5","12,5","9,5","1,5K","0,1%"\n',
        [("LKOH", "2023-01-09", 10.5, 12.5, 9.5, 11.5, 1500)],
    ),
    "000660.csv": (
        "날짜,종가,시가,고가,저가,거래량\n2023년 01월 09일,11,10,12,9,500\n",
        [("000660", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    "Ethereum_1_9_2023-1_9_2023_historical_data_coinmarketcap.csv": (
        "timeOpen;timeClose;name;open;high;low;close;volume;marketCap;timestamp\n"
        '"2023-01-09T00:00:00.000Z";"2023-01-09T23:59:59.999Z";"2781";10;12;9;11;500;7;'
        '"2023-01-09T23:59:59.999Z"\n',
        [("ETHEREUM", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    "prices_AXP.json": (
        '{"2023-01-09T00:00:00.000":{"Open":10,"High":12,"Low":9,"Close":11,"Volume":500}}',
        [("AXP", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    "ticker=SBUX/part-0.csv": (  # partitions of one table
        H + "2023-01-09,10,12,9,11,500\n",
        [("SBUX", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    "PETR4.csv": (  # of Volume and Quantidade the second one counts shares
        "Data;Abertura;Máxima;Mínima;Fechamento;Volume;Quantidade\n"
        "19/01/2023;10,5;12,5;9,5;11,5;5.500,75;500\n",
        [("PETR4", "2023-01-19", 10.5, 12.5, 9.5, 11.5, 500)],
    ),
    "MMM_daily_adjusted.csv": (
        "timestamp,open,high,low,close,volume,market\n2023-01-09,10,12,9,11,500,79120.5\n",
        [("MMM", "2023-01-09", 10, 12, 9, 11, 500)],
    ),
    # No header
    "EURUSD1440.csv": (
        "2023.01.03,00:00,1.0667,1.0683,1.0519,1.0548,71234\n"
        "2023.01.04,00:00,1.0547,1.0635,1.0541,1.0604,68012\n",
        [
            ("EURUSD", "2023-01-03", 1.0667, 1.0683, 1.0519, 1.0548, 71234),
            ("EURUSD", "2023-01-04", 1.0547, 1.0635, 1.0541, 1.0604, 68012),
        ],
    ),
    "ETHUSDT-1d-2023-01.csv": (
        "1672704000000,10,12,9,11,500,1672790399999,5500,7,250,2750,0\n",
        [("ETHUSDT", "2023-01-03", 10, 12, 9, 11, 500)],
    ),
    # Dates
    "dates/NKE.csv": (
        H + "2/3/2023,10,12,9,11,500\n2/14/2023,10,12,9,11,500\n",
        [
            ("NKE", "2023-02-03", 10, 12, 9, 11, 500),
            ("NKE", "2023-02-14", 10, 12, 9, 11, 500),
        ],
    ),
    "dates/VOD.L.csv": (
        H + "2-3-23,10,12,9,11,500\n14-3-23,10,12,9,11,500\n",
        [
            ("VOD.L", "2023-03-02", 10, 12, 9, 11, 500),
            ("VOD.L", "2023-03-14", 10, 12, 9, 11, 500),
        ],
    ),
    "dates/SIE.csv": (
        H + "14. März 2023,10,12,9,11,500\n15 août 2023,10,12,9,11,500\n"
        '"Wed, Aug 16, 2023",10,12,9,11,500\n',
        [
            ("SIE", "2023-03-14", 10, 12, 9, 11, 500),
            ("SIE", "2023-08-15", 10, 12, 9, 11, 500),
            ("SIE", "2023-08-16", 10, 12, 9, 11, 500),
        ],
    ),
    "dates/nanoseconds_QCOM.csv": (
        "ticker,volume,open,close,high,low,window_start,transactions\n"
        "QCOM,500,10,11,12,9,1672722000000000000,3\n",  # midnight in New York
        [("QCOM", "2023-01-03", 10, 12, 9, 11, 500)],
    ),
    "dates/7203.T.csv": (  # midnight in Tokyo, on a day that is another in UTC
        "timestamp,open,high,low,close,volume\n2023-01-05T15:00:00Z,10,12,9,11,500\n",
        [("7203.T", "2023-01-06", 10, 12, 9, 11, 500)],
    ),
    "dates/closes_GS.csv": (
        "Symbol,Date,Open,High,Low,Close,Volume\n"
        "GS,1/17/2023 16:00:00,10,12,9,11,500\nGS,1/18/2023 16:00:00,10,12,9,11,500\n",
        [("GS", "2023-01-17", 10, 12, 9, 11, 500), ("GS", "2023-01-18", 10, 12, 9, 11, 500)],
    ),
    # Numbers
    "numbers/BRK-B.csv": (
        H + '2023-01-03,"$1,310.50","$1,312","$1,309.25","$1,311.00",1.25K\n',
        [("BRK-B", "2023-01-03", 1310.5, 1312, 1309.25, 1311, 1250)],
    ),
    "numbers/NESN.SW.csv": (
        "Date;Open;High;Low;Close;Volume\n2023-01-03;1'107.5;1'112;1'101;1'110;2'500'000\n",
        [("NESN.SW", "2023-01-03", 1107.5, 1112, 1101, 1110, 2500000)],
    ),
    "numbers/INFY.csv": (
        H + '2023-01-03,"₹1,107.50","₹1,112.00","₹1,101.00","₹1,110.00","12,34,567"\n',
        [("INFY", "2023-01-03", 1107.5, 1112, 1101, 1110, 1234567)],
    ),
    # Symbols
    "pairs.csv": (
        "Unix,Date,Symbol,Open,High,Low,Close,Volume LTC,Volume USD\n"
        "1672704000,2023-01-03,LTC/USD,10,12,9,11,500,5500\n",
        [("LTC-USD", "2023-01-03", 10, 12, 9, 11, 500)],
    ),
    "instruments.csv": (
        "ts_code,trade_date,open,high,low,close,vol\n000001.SZ,20230103,10,12,9,11,500\n",
        [("000001.SZ", "2023-01-03", 10, 12, 9, 11, 500)],
    ),
    "BATS_AMD, 1D.csv": (
        "time,open,high,low,close,Volume,Volume MA\n2023-01-03,10,12,9,11,500,400\n",
        [("AMD", "2023-01-03", 10, 12, 9, 11, 500)],
    ),
    "%5EFTSE (1).csv": (
        H + "2023-01-03,10,12,9,11,500\n",
        [("^FTSE", "2023-01-03", 10, 12, 9, 11, 500)],
    ),
    # Answers saved to disk
    "av.json": (
        json.dumps(
            {
                "Meta Data": {"2. Symbol": "DIS"},
                "Time Series (Daily)": {
                    "2023-01-03": {
                        "1. open": "10",
                        "2. high": "12",
                        "3. low": "9",
                        "4. close": "11",
                        "5. volume": "500",
                    }
                },
            }
        ),
        [("DIS", "2023-01-03", 10, 12, 9, 11, 500)],
    ),
    "polygon.json": (
        '{"ticker":"UPS","results":[{"v":500,"o":10,"c":11,"h":12,"l":9,"t":1672722000000}]}',
        [("UPS", "2023-01-03", 10, 12, 9, 11, 500)],
    ),
    "alpaca.json": (
        '{"bars":{"HD":[{"t":"2023-01-03T05:00:00Z","o":10,"h":12,"l":9,"c":11,"v":500}],'
        '"LOW":[{"t":"2023-01-03T05:00:00Z","o":20,"h":22,"l":19,"c":21,"v":600}]}}',
        [("HD", "2023-01-03", 10, 12, 9, 11, 500), ("LOW", "2023-01-03", 20, 22, 19, 21, 600)],
    ),
}
CHART = {
    "chart": {
        "result": [
            {
                "meta": {"symbol": "ADBE", "exchangeTimezoneName": "America/New_York"},
                "timestamp": [1672756200, 1688391000],  # 14:30 and 13:30 in UTC
                "indicators": {
                    "quote": [
                        {
                            "open": [10, 20],
                            "high": [12, 22],
                            "low": [9, 19],
                            "close": [11, 21],
                            "volume": [500, 600],
                        }
                    ]
                },
                "events": {"splits": {"1": {"date": 1688391000, "numerator": 3, "denominator": 2}}},
            }
        ],
        "error": None,
    }
}
PLAIN = pd.DataFrame(
    {"Open": [10.0], "High": [12.0], "Low": [9.0], "Close": [11.0], "Volume": [500]},
    index=pd.DatetimeIndex(["2023-01-03"], name="Date"),
)


def write_binaries(inbox: Path) -> dict[str, list[Bar]]:
    """Files that are no UTF-8 text; returns their bars."""
    row = ("2023-01-03", 10, 12, 9, 11, 500)
    (inbox / "chart.json").write_text(json.dumps(CHART))
    (inbox / "WIDE.csv").write_bytes((H + "2023-01-03,10,12,9,11,500\n").encode("utf-16"))
    german = "Datum;Eröffnung;Höchst;Tiefst;Schluss;Stücke\n3. März 2023;10,0;12,0;9,0;11,0;500\n"
    (inbox / "LATIN.csv").write_bytes(german.encode("cp1252"))
    chinese = "日期,开盘,收盘,最高,最低,成交量\n2023-01-03,10,11,12,9,500\n"
    (inbox / "300750.csv").write_bytes(chinese.encode("gbk"))
    (inbox / "MARK.tsv").write_text(
        "\ufeff" + (H + "2023-01-03,10,12,9,11,500\n").replace(",", "\t")
    )
    (inbox / "PACKED.csv.gz").write_bytes(
        gzip.compress((H + "2023-01-03,10,12,9,11,500\n").encode())
    )
    with zipfile.ZipFile(inbox / "two.zip", "w") as archive:
        archive.writestr("folder/ZA.csv", H + "2023-01-03,10,12,9,11,500\n")
        archive.writestr("folder/.DS_Store", b"\0\0\0\1Bud1")
        archive.writestr("ZB.csv", H + "2023-01-03,10,12,9,11,500\n")
    PLAIN.to_parquet(inbox / "PARQ.parquet")
    tuples = PLAIN.copy()
    tuples.columns = pd.MultiIndex.from_tuples([(name, "TUP") for name in PLAIN.columns])
    tuples.columns = [str(pair) for pair in tuples.columns]
    tuples.to_parquet(inbox / "tuples.parquet")
    feather.write_feather(PLAIN.reset_index(), str(inbox / "FEAT.feather"))
    write_workbook(inbox / "DESK.xlsx", "Kurse", "Adjusted")
    write_workbook(inbox / "desk of all.xlsx", "XA", "XB")
    bars = {
        "chart.json": [
            ("ADBE", "2023-01-03", 10, 12, 9, 11, 500),
            ("ADBE", "2023-07-03", 20, 22, 19, 21, 600),
        ],
        "desk of all.xlsx": [("XA", *row), ("XB", *row)],
        "two.zip": [("ZA", *row), ("ZB", *row)],
        "tuples.parquet": [("TUP", *row)],
        "LATIN.csv": [("LATIN", "2023-03-03", *row[1:])],
    }
    for name in (
        "WIDE.csv",
        "300750.csv",
        "MARK.tsv",
        "PACKED.csv.gz",
        "PARQ.parquet",
        "FEAT.feather",
        "DESK.xlsx",
    ):
        bars[name] = [(name.partition(".")[0], *row)]
    return bars


def write_workbook(path: Path, *sheets: str) -> None:
    """The least that a workbook is: texts inline, a date as a number with a style."""
    cells = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in H.strip().split(","))
    values = "".join(f"<c><v>{value}</v></c>" for value in (10, 12, 9, 11, 500))
    sheet = f'<row><c t="inlineStr"><is><t>Prices</t></is></c></row><row>{cells}</row><row><c s="1"><v>44929</v></c>{values}</row>'
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    doc = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/{name}.xml" ContentType="{types}.worksheet+xml"/>'
            for name in sheets
        )
        + f'<Override PartName="/xl/styles.xml" ContentType="{types}.styles+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1" Type="{doc}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{doc}"><sheets>'
        + "".join(
            f'<sheet name="{name}" sheetId="{n}" r:id="s{n}"/>' for n, name in enumerate(sheets, 1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}">'
        + "".join(
            f'<Relationship Id="s{n}" Type="{doc}/worksheet" Target="worksheets/{name}.xml"/>'
            for n, name in enumerate(sheets, 1)
        )
        + f'<Relationship Id="r2" Type="{doc}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet {main}><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>',
        **dict.fromkeys(
            (f"xl/worksheets/{name}.xml" for name in sheets),
            f"<worksheet {main}><sheetData>{sheet}</sheetData></worksheet>",
        ),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Bar]]:
    """File → its clean bars, out of one run over all the files."""
    folder = tmp_path_factory.mktemp("files")
    inbox = folder / "inbox"
    inbox.mkdir()
    for name, (text, _) in TEXTS.items():
        (inbox / name).parent.mkdir(exist_ok=True)
        (inbox / name).write_text(text, encoding="utf-8")
    wanted = write_binaries(inbox)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_DIR", str(folder / "data"))
        assert call_stage(extract.main, "--source", "files", "--path", inbox) == 0
        assert call_stage(transform.main) == 0
    rows = duckdb.execute(
        f"""SELECT split_part(r.file, '.zip', 1) || CASE WHEN r.file LIKE '%.zip%' THEN '.zip' ELSE '' END,
            c.symbol, strftime(c.timestamp, '%Y-%m-%d'), c.open, c.high, c.low, c.close, c.volume
        FROM read_parquet('{folder / "data" / "clean_data.parquet"}') c
        JOIN (SELECT DISTINCT file, upper(trim(symbol)) AS symbol
              FROM read_parquet('{folder / "data" / "raw_data.parquet"}')) r USING (symbol)
        ORDER BY ALL"""
    ).fetchall()
    found: dict[str, list[Bar]] = {"wanted": list(wanted.items())}
    for file, *bar in rows:
        found.setdefault(file, []).append(tuple(bar))
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_as_people_have_it_gives_its_bars(taken: dict[str, list[Bar]], name: str) -> None:
    assert taken.get(name) == TEXTS[name][1]


def test_spreadsheets_columns_on_disk_and_packed_or_foreign_texts_give_their_bars(
    taken: dict[str, list[Bar]],
) -> None:
    wanted = dict(taken["wanted"])
    assert {name: taken.get(name) for name in wanted} == wanted


def test_a_small_file_and_the_same_bars_in_a_long_one_are_read_alike(
    data_dir: Path, tmp_path: Path
) -> None:
    """A small plain file is read without DuckDB: what it gives must be the same."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    days = [f"{1990 + n // 300}-{n // 25 % 12 + 1:02}-{n % 25 + 1:02}" for n in range(900)]
    lines = [f"{day},10,12.50,9,1.1E1,{n}\n" for n, day in enumerate(days)]
    (inbox / "LONG.csv").write_text(H + "".join(lines))
    (inbox / "SHORT.csv").write_text(H + "".join(lines[:30]))
    assert call_stage(extract.main, "--source", "files", "--path", inbox) == 0
    rows = pq.read_table(data_dir / "raw_data.parquet").to_pylist()
    of = {
        name: [
            {k: v for k, v in row.items() if k not in ("file", "symbol", "fetched_at")}
            for row in rows
            if row["symbol"] == name
        ]
        for name in ("LONG", "SHORT")
    }
    assert len(of["LONG"]) == 900
    assert of["SHORT"] == of["LONG"][:30]
    assert of["SHORT"][3]["line"] == 5
