"""Bars shorter than a day in every format, and what HTTP asks of an answer."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.minute_data import Minutes, fill
from tests.server import read_json, serve

URL = "/instruments/AAPL/ohlcv?interval=15m&start=2013-03-08&end=2013-03-11&hours=extended"
VOD = Minutes("VOD", "XLON", date(2013, 3, 27), date(2013, 4, 4), source="files", decimals=2)


@pytest.fixture(scope="module")
def client(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data_dir = Path(copytree(sample_dir, tmp_path_factory.mktemp("answers") / "data"))
    fill(data_dir, Minutes(), VOD)
    with serve(data_dir, MAX_ROWS="400") as client:
        yield client


def read_table(client: httpx.Client, name: str, url: str = URL) -> list[dict[str, Any]]:
    """The rows of an answer in a format, timestamps as instants."""
    content = client.get(f"{url}&format={name}").raise_for_status().content
    if name == "csv":
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        return [{n: json.loads(v) if n != "timestamp" else v for n, v in r.items()} for r in rows]
    if name == "ndjson":
        return [json.loads(line) for line in content.splitlines()]
    if name == "columns":
        columns = json.loads(content)["data"]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    source = pa.BufferReader(content)
    table = pa.ipc.open_stream(source).read_all() if name == "arrow" else pq.read_table(source)
    unit = "s" if name == "arrow" else "ms"  # Parquet has no seconds
    assert table.schema.field("timestamp").type == pa.timestamp(unit, "UTC")
    told = {n.decode(): v.decode() for n, v in table.schema.metadata.items()}
    assert (told["hours"], told["timezone"]) == ("extended", "America/New_York")
    assert told["synthetic"] == "true"
    return [
        {**row, "timestamp": f"{row['timestamp'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        for row in table.to_pylist()
    ]


@pytest.mark.parametrize("name", ["columns", "csv", "ndjson", "arrow", "parquet"])
def test_every_format_has_the_same_bars(client: httpx.Client, name: str) -> None:
    assert read_table(client, name) == read_json(client, URL)["data"]
    answer = client.get(f"{URL}&format={name}")
    if name != "columns":
        headers = answer.headers
        assert [headers[f"x-{each}"] for each in ("hours", "timezone", "synthetic")] == [
            *("extended", "America/New_York", "true")
        ]
        assert headers["content-disposition"].split('"')[1].startswith("AAPL_15m_raw_2013-03-08_")
    real = client.get(f"/instruments/VOD/ohlcv?interval=1h&format={name}")
    assert real.status_code == 200
    assert "x-synthetic" not in real.headers


def test_volumes_with_decimals_are_told_as_numbers(client: httpx.Client) -> None:
    url = "/instruments/VOD/ohlcv?interval={}&start=2013-03-28&end=2013-03-28"
    minutes = read_json(client, f"{url.format('1m')}&limit=5")["data"]
    assert minutes[0]["volume"] == pytest.approx(minutes[1]["volume"] - 0.01)
    bar = read_json(client, url.format("5m"))["data"][0]
    assert bar["volume"] == round(sum(each["volume"] for each in minutes), 2)


def test_what_does_not_fit_is_refused_or_goes_on(client: httpx.Client) -> None:
    url = "/instruments/AAPL/ohlcv?interval=1m"
    whole = client.get(f"{url}&format=csv")
    assert (whole.status_code, "more rows than 400" in whole.json()["detail"]) == (422, True)
    part = client.get(f"{url}&format=csv&limit=400")
    assert part.headers["link"].startswith("<?interval=1m&limit=400&format=csv&after=2013")
    assert part.headers["x-count"] == "400"
    assert read_json(client, url)["count"] == 400
    several = client.get("/ohlcv?symbols=AAPL,VOD&interval=1m&format=parquet")
    assert several.status_code == 422


def test_an_answer_is_named_compressed_and_given_in_parts(client: httpx.Client) -> None:
    first = client.get(URL)
    etag = {"If-None-Match": first.headers["etag"]}
    assert client.get(URL, headers=etag).status_code == 304
    head = client.head(URL)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(first.content)))
    part = client.get(URL, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, first.content[10:20])
    assert client.get(URL, headers={"If-Match": '"other"'}).status_code == 412
    with client.stream("GET", URL, headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(b"".join(packed.iter_raw())) == first.content
    assert client.get(URL).content == first.content


def test_fields_and_orders_are_those_that_are_asked_for(client: httpx.Client) -> None:
    rows = read_json(client, f"{URL}&fields=close,complete&order=desc")["data"]
    assert list(rows[0]) == ["timestamp", "close", "complete"]
    assert [row["timestamp"] for row in rows] == [
        row["timestamp"] for row in read_json(client, URL)["data"][::-1]
    ]


def test_the_last_bar_of_several_is_of_the_interval_asked_for(client: httpx.Client) -> None:
    latest = "/ohlcv/latest?symbols=VOD,AAPL,GOOG&interval={}"
    answer = read_json(client, latest.format("1h"))
    assert answer["unknown"] == ["GOOG"]
    found = {bar["symbol"]: bar["timestamp"] for bar in answer["data"]}
    assert found == {"VOD": "2013-04-04T15:00:00Z", "AAPL": "2013-03-15T19:30:00Z"}
    extended = read_json(client, f"{latest.format('1m')}&hours=extended")["data"]
    assert [bar["timestamp"][11:16] for bar in extended] == ["15:59", "20:29"]
    assert client.get(latest.format("1wk")).status_code == 422
    assert client.get("/ohlcv/latest?symbols=AAPL&hours=extended").status_code == 422


def test_prices_are_adjusted_from_session_to_session(client: httpx.Client) -> None:
    """The sample has no split in these days: as traded; what was never asked for is said."""
    raw, split = (
        read_json(client, f"{URL}&adjustment={each}&limit=9") for each in ("raw", "split")
    )
    assert split["data"] == raw["data"]
    assert "actions_known_at" in split
    answer = read_json(client, "/instruments/VOD/ohlcv?interval=1h&adjustment=all&limit=1")
    assert answer["never_asked"] == ["splits", "dividends"]
    assert datetime.fromisoformat(answer["data"][0]["timestamp"]).tzinfo == UTC
