"""Make bars.csv.gz and splits.csv anew out of the installed package bokeh-sampledata.

    pip install bokeh-sampledata==2026.1
    python data/sample/make_sample.py

Values are taken over as they are, as text; only columns are renamed and reordered.
"""

import csv
import gzip
import io
from pathlib import Path

import bokeh_sampledata

HERE = Path(__file__).parent
COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume", "adj_close")
THEIRS = ("Ticker", "Date", "Open", "High", "Low", "Close", "Volume", "Adj Close")
# The splits inside the period, where the unadjusted prices halve and `Adj Close` does not.
SPLITS = (
    ("AAPL", "2000-06-21", "split", "2"),
    ("AAPL", "2005-02-28", "split", "2"),
    ("MSFT", "2003-02-18", "split", "2"),
)


def main() -> None:
    source = Path(bokeh_sampledata.__file__).parent / "_data" / "stocks.csv.gz"
    with gzip.open(source, "rt", newline="") as file:
        rows = [[row[name] for name in THEIRS] for row in csv.DictReader(file)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    # mtime=0: the same bars give the same bytes
    (HERE / "bars.csv.gz").write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    with (HERE / "splits.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("symbol", "ex_date", "kind", "value"))
        writer.writerows(SPLITS)


if __name__ == "__main__":
    main()
