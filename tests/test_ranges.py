"""An answer can be had in parts, as readers do that take a table from its URL."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest

from tests.server import read_json, serve

BARS = "/instruments/AAPL/ohlcv?start=2012-01-03&end=2012-12-31"


@pytest.fixture(scope="module")
def client(sample_dir: Path) -> Iterator[httpx.Client]:
    with serve(sample_dir, CORS_ORIGINS="https://desk.example") as client:
        yield client


def test_polars_reads_every_format_from_its_url(client: httpx.Client) -> None:
    url = f"{client.base_url}{BARS}&format="
    expected = [bar["close"] for bar in read_json(client, BARS)["data"]]
    frames = [
        pl.read_csv(f"{url}csv"),
        pl.read_ndjson(f"{url}ndjson"),
        pl.read_parquet(f"{url}parquet"),
        pl.scan_parquet(f"{url}parquet").select("close").collect(),
        pl.read_ipc_stream(f"{url}arrow"),
    ]
    assert [frame["close"].to_list() for frame in frames] == [expected] * len(frames)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("0-0", slice(0, 1)),
        ("5-9", slice(5, 10)),
        ("100-", slice(100, None)),
        ("-7", slice(-7, None)),
        ("-99999999", slice(None)),
        ("3-99999999", slice(3, None)),
    ],
)
def test_a_range_is_those_bytes_of_the_same_answer(
    client: httpx.Client, wanted: str, part: slice, coding: str
) -> None:
    whole, whole_body = ask(client, {"Accept-Encoding": coding})
    cut, body = ask(client, {"Accept-Encoding": coding, "Range": f"bytes={wanted}"})
    first, last, _ = part.indices(len(whole_body))
    assert (cut.status_code, body) == (206, whole_body[part])
    assert cut.headers["content-range"] == f"bytes {first}-{last - 1}/{len(whole_body)}"
    assert cut.headers["content-length"] == str(len(body))
    same = set(whole.headers) - {"content-length", "date", "x-cache", "x-request-id"}
    assert {name: cut.headers[name] for name in same} == {
        name: whole.headers[name] for name in same
    }


def ask(client: httpx.Client, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
    """The answer and its body as it was sent."""
    with client.stream("GET", f"{BARS}&format=csv&limit=100", headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize("wanted", ["0-4,6-7", "9-5", "-", "x-y", "0x1-", "-0x", "1 - 2", ""])
@pytest.mark.parametrize("unit", ["bytes", "rows"])
def test_what_is_no_range_is_answered_whole(client: httpx.Client, unit: str, wanted: str) -> None:
    answer, body = ask(client, {"Range": f"{unit}={wanted}"})
    assert (answer.status_code, body) == (200, ask(client, {})[1])
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("wanted", ["99999999-", "99999999-999999999", "-0"])
def test_a_range_beyond_the_end_is_416_and_says_where_that_is(
    client: httpx.Client, wanted: str
) -> None:
    headers = {"Range": f"bytes={wanted}", "Origin": "https://desk.example"}
    answer = client.get(f"{BARS}&format=csv", headers=headers)
    size = len(client.get(f"{BARS}&format=csv").content)
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
    assert answer.json()["detail"].startswith(f"The answer has {size} bytes")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "content-disposition" not in answer.headers
    assert answer.headers["access-control-allow-origin"] == "https://desk.example"


def test_another_answer_than_if_range_names_comes_whole(client: httpx.Client) -> None:
    etag = ask(client, {})[0].headers["etag"]
    for named, status in ((etag, 206), ('"1-another"', 200), (f"W/{etag}", 200)):
        answer, _ = ask(client, {"Range": "bytes=0-4", "If-Range": named})
        assert answer.status_code == status, named


def test_what_is_no_whole_answer_is_not_cut(client: httpx.Client) -> None:
    wanted = {"Range": "bytes=0-4"}
    assert client.head(BARS, headers=wanted).status_code == 200
    assert client.get("/instruments/APPL", headers=wanted).json()["nearest"] == ["AAPL"]
    assert client.get("/health", headers=wanted).json()["status"] == "ok"
    etag = client.get(BARS).headers["etag"]
    assert client.get(BARS, headers={**wanted, "If-None-Match": etag}).status_code == 304
    assert client.get("/docs/files/swagger-ui.css", headers=wanted).status_code == 206
