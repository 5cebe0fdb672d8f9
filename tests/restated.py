"""A small store with a past: IBM in May 2020, fetched three times, the vendor changing its mind.

The first answer came at 14:07 in New York, two hours before the session of the 8th had closed.
One session is missing, one is rejected, and one bar opened above its own high. The bars of the
7th and 8th are recorded ones, the others are made up.
"""

import os
from datetime import datetime
from pathlib import Path

from tests.conftest import call_etl, read_record

HEADER = "date,open,high,low,close,volume,dividends\n"

# When the file was fetched (its own time), and what it says.
ANSWERS = {
    "2020-05-08T18:07:03Z": """\
2020-04-30,127.00,127.38,124.43,125.56,5300200,0
2020-05-01,123.10,122.12,119.80,121.81,4772900,0
2020-05-04,120.77,122.69,120.30,121.72,3927200,0
2020-05-05,122.58,121.49,124.23,122.58,5119800,0
2020-05-07,122.98,123.26,120.85,121.23,4412047,1.63
2020-05-08,122.67,122.80,121.06,121.79,2538547,0
""",
    "2020-05-09T00:15:00Z": """\
2020-05-07,122.98,123.26,120.85,121.23,4412047,1.63
2020-05-08,122.67,123.23,121.06,122.99,5002300,0
""",
    "2020-05-11T18:02:11Z": """\
2020-05-04,120.77,122.69,120.30,121.72,4012400,0
2020-05-08,122.67,123.23,121.06,122.99,5002300,0
2020-05-11,121.78,122.90,121.37,122.45,1873400,0
""",
}


def build_restated(folder: Path) -> list[str]:
    """Publish the answers one after the other in the data folder; returns the ids of the runs."""
    file = folder / "inbox" / "IBM.csv"
    file.parent.mkdir(parents=True)
    runs = []
    for fetched_at, rows in ANSWERS.items():
        file.write_text(HEADER + rows)
        seconds = datetime.fromisoformat(fetched_at).timestamp()
        os.utime(file, (seconds, seconds))
        call_etl(folder, SOURCE="files", SOURCE_PATH=str(file))
        runs.append(read_record(folder)["run_id"])
    return runs
