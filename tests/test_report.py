"""report: one page of the last run and the store; its numbers are the store's."""

import json
import re
import shutil
from collections.abc import Iterable
from datetime import date
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from etl import load, report, rollback
from etl.__main__ import main as run_all
from tests.conftest import call_stage, clean_environ, make_bars, query_store, read_record, run_stage
from tests.prices import read_sample
from tests.stores import load_answer, store_of, write_store

HEADER = "Symbol,Date,Open,High,Low,Close,Volume\n"
VOID = {"meta", "link"}


class Page(HTMLParser):
    """The rows of each table by section or id, the text of each section, and every attribute."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.path: list[tuple[str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.titles: list[str] = []
        self.feed(html)
        self.close()
        assert not self.path, "an element was left open"

    def find_ids(self) -> Iterable[str]:
        return [name for _, name in self.path if name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        found = dict(attrs)
        if tag not in VOID:
            self.path.append((tag, found.get("id") or ""))
        if tag == "tr":
            for name in self.find_ids():
                self.tables.setdefault(name, []).append([])
        if tag in ("td", "th"):
            self.titles.append(found.get("title") or "")
            for name in self.find_ids():
                self.tables[name][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        is_cell = any(tag in ("td", "th") for tag, _ in self.path)
        for name in self.find_ids():
            self.texts[name] = self.texts.get(name, "") + " " + " ".join(data.split())
            if is_cell:
                self.tables[name][-1][-1] += data.strip()


def write_page(data_dir: Path, code: int = 0) -> Page:
    assert call_stage(report.main) == code
    return Page((data_dir / "report.html").read_text(encoding="utf-8"))


def run_etl(data_dir: Path, rows: str, code: int = 0) -> None:
    """Extract, transform and load one CSV file."""
    inbox = data_dir.parent / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / "bars.csv").write_text(HEADER + rows)
    assert call_stage(run_all, "--source", "files", "--path", inbox) == code


@pytest.fixture(scope="module")
def sample_page(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("report") / "data"
    shutil.copytree(sample_dir, folder)
    done = run_stage("-m", "etl.report", env=clean_environ(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        str(folder / "report.html"),
        f"run {read_record(sample_dir)['run_id']} ok, 12,154 received, 12,154 inserted,"
        " 0 rejected, 12,154 bars in the store",
    ]
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_fates_on_the_page_are_those_of_the_store(sample_dir: Path, sample_page: Page) -> None:
    stored = query_store(
        store_of(sample_dir),
        "SELECT symbol, received, inserted, revised, unchanged, stale, rejected, out_of_range"
        " FROM etl_run_symbols ORDER BY symbol",
    )
    assert sample_page.tables["fates"][1:] == [
        [row[0], *(f"{count:,}" for count in row[1:])] for row in stored
    ]
    assert sample_page.texts["bars"].strip() == "12,154"


def test_the_heat_map_counts_the_sessions_of_each_year(sample_dir: Path, sample_page: Page) -> None:
    header, whole, *lines = sample_page.tables["heatmap"]
    assert header == ["symbol", *map(str, range(2000, 2014)), "in all", "sessions"]
    assert [whole[0], *whole[-2:]] == ["all 5", "100 %", "12,154 of 12,154"]
    assert [line[0] for line in lines] == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    years = query_store(
        store_of(sample_dir),
        "SELECT symbol, year(timestamp) AS y, count(*) FROM ohlcv_data GROUP BY ALL ORDER BY ALL",
    )
    said = [title for title in sample_page.titles if re.match(r"[A-Z]+, \d+: \d", title)]
    assert said == [
        f"{symbol}, {year}: {bars} of {bars} sessions, 100 %" for symbol, year, bars in years
    ]
    assert "FB, 2011: no session within its first and last bar" in sample_page.titles


def test_the_largest_moves_are_those_of_the_split_adjusted_closes(sample_page: Page) -> None:
    moves = []
    for symbol in ("AAPL", "FB", "GOOG", "IBM", "MSFT"):
        series = read_sample(symbol)
        steps = zip(series.days[1:].astype(date), pairwise(series.close.tolist()), strict=True)
        moves += [(symbol, str(day), after / before - 1) for day, (before, after) in steps]
    largest = sorted(moves, key=lambda move: -abs(move[2]))[:12]
    rows = sample_page.tables["moves"][1:]
    assert [row[:3] for row in rows] == [
        [symbol, day, f"{100 * change:+.1f} %".replace("-", "−")] for symbol, day, change in largest
    ]
    assert "and in the whole store" in sample_page.texts["moves"]


def test_the_page_asks_for_nothing_from_anywhere(sample_page: Page, sample_dir: Path) -> None:
    tags = {tag for tag, _, _ in sample_page.attributes} | set(sample_page.texts)
    assert not tags & {"script", "img", "iframe", "object", "embed", "base", "use", "image"}
    loading = [
        (tag, name, value)
        for tag, name, value in sample_page.attributes
        if name in ("src", "srcset", "href", "xlink:href", "data", "action", "background")
        or name.startswith("on")
    ]
    assert loading == [("link", "href", "data:,")]
    styles = (report.TEMPLATES / "report.css").read_text()
    assert not re.search(r"url\(|@import|//", styles)
    policies = [value for _, name, value in sample_page.attributes if name == "content"]
    assert policies[0].startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_revisions_notes_and_gaps_of_a_restated_store(restated_dir: Path, data_dir: Path) -> None:
    shutil.copytree(restated_dir, data_dir, dirs_exist_ok=True)
    page = write_page(data_dir)
    assert page.tables["revised"][1:] == [
        [
            *("IBM", "2020-05-04", "121.72", "121.72", "0 %", "3,927,200", "4,012,400", "volume"),
            *("2020-05-08 18:07:03", "2020-05-11 18:02:11"),
        ]
    ]
    assert [row[:4] for row in page.tables["notes"][1:]] == [
        ["open outside range", "0", "1", "1"],
        ["provisional", "1", "1", "1"],
    ]
    assert page.tables["gaps"][1:3] == [
        ["not delivered", "1", "1", "IBM 2020-05-06"],
        ["rejected", "1", "1", "IBM 2020-05-05"],
    ]
    groups, header, line = page.tables["heatmap"]
    assert groups[1:3] == ["Apr 2020", "May 2020"]
    assert header[1:-2] == ["30", "1", "4", "5", "6", "7", "8", "11"]
    assert line[-2:] == ["75.0 %", "6 of 8"]
    assert [row[1] for row in page.tables["moves"] if row[0] == "IBM"][:2] == [
        "2020-05-11",  # inserted by the last run, and the one that it revised; then the store's
        "2020-05-04",
    ]


def test_rejected_rows_stand_under_their_reason_and_all_text_is_escaped(data_dir: Path) -> None:
    run_etl(
        data_dir,
        '<script>,2024-01-02,5,6,4,5,7\n<script>,2024-01-03,5,6,4,"<b>five</b>",7\n'
        "BRK.B,2024-01-02,5,6,4,5,7\nBRK.B,1/3/2024,5,6,4,5,7\n"
        "^GSPC,2024-01-02,5,4,6,5,\nA&B\"',2024-01-02,5,6,4,5,7\n"
        + "".join(f"BRK.B,2024-01-0{day},5,4,6,5,7\n" for day in range(3, 8)),
    )
    page = write_page(data_dir)
    assert [row[0] for row in page.tables["fates"][1:]] == ["<SCRIPT>", "A&B\"'", "BRK.B", "^GSPC"]
    rows = page.tables["reasons"][1:]
    assert rows[0] == ["6", "high below low", "^GSPC", "2024-01-02", "5", "4", "6", "5", ""]
    assert len([row for row in rows if row[0] == "BRK.B" and row[3:5] == ["4", "6"]]) == 2
    assert ["1", "ambiguous date", "BRK.B", "1/3/2024", "5", "6", "4", "5", "7"] in rows
    assert rows[-1][2:] == ["<script>", "2024-01-03", "5", "6", "4", "<b>five</b>", "7"]
    html = (data_dir / "report.html").read_text()
    assert not re.search(r"<script|<b>five", html, re.IGNORECASE)


def test_an_error_is_told_from_a_real_move_by_its_note(data_dir: Path) -> None:
    days = [f"2024-{month:02}-{day:02}" for month in (1, 2) for day in range(2, 29)]
    days = [day for day in days if date.fromisoformat(day).weekday() < 5]
    closes = [100 + i % 3 for i in range(len(days))]
    bars = [
        ("REAL", day, close if i < 20 else close / 2)
        for i, (day, close) in enumerate(zip(days, closes, strict=True))
    ]
    bars += [
        ("WRONG", day, close * (100 if i == 20 else 1))
        for i, (day, close) in enumerate(zip(days, closes, strict=True))
    ]
    assert call_stage(load.main, "--input", make_bars(data_dir.parent / "b.parquet", bars)) == 0
    there, back, real = write_page(data_dir).tables["moves"][1:4]
    assert (there[0], there[1], there[-1][:11]) == ("WRONG", days[20], "unit change")
    assert (back[1], back[2], back[-1][:22]) == (*(days[21], "−99.0 %", "bar before:unit change"),)
    assert (real[0], real[1]) == ("REAL", days[20])


def test_of_many_symbols_the_worst_are_shown_and_the_rest_counted(data_dir: Path) -> None:
    week = ("2024-01-08", "2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12")
    bars = [
        (f"S{i:02}", day, 5.0)
        for i in range(45)
        for day in week
        if not (i == 17 and day == week[2]) and not (i == 30 and day in week[1:4])
    ]
    load_answer(data_dir, "2024-02-01", *bars)
    page = write_page(data_dir)
    lines = page.tables["heatmap"][2:]
    assert lines[0][0::7] == ["all 45", "221 of 225"]
    assert [(line[0], line[-2]) for line in lines[1:4]] == [
        ("S30", "40.0 %"),
        ("S17", "80.0 %"),
        ("S00", "100 %"),
    ]
    assert len(lines) == 1 + report.SYMBOLS_SHOWN
    assert "5 more are left out; each has 100 % of its sessions." in page.texts["gaps"]
    assert len(page.tables["fates"]) == 1 + report.OUTCOMES_SHOWN
    assert "20 more symbols are left out" in page.texts["came"]


def test_a_failed_run_is_shown_with_the_remedy_and_the_store_as_it_was(own_sample: Path) -> None:
    run_etl(own_sample, "AAPL,2024-01-02,5,6,4,5,7\n")
    run_etl(own_sample, "AAPL,1/3/2024,5,6,4,5,7\n", code=1)
    page = write_page(own_sample)
    assert "transform failed" in page.texts["failures"]
    assert "data/rejected_data.parquet" in page.texts["failures"]
    assert "1 row came from the source; none of them came as far as the store" in page.texts["came"]
    assert page.tables["reasons"][1][:4] == ["1", "ambiguous date", "AAPL", "1/3/2024"]
    assert page.texts["bars"].strip() == "1"


def test_rows_that_a_failed_load_left_have_no_fate(data_dir: Path) -> None:
    run_etl(data_dir, "A,2024-01-02,5,6,4,5,7\n")
    write_store(store_of(data_dir), "UPDATE instruments SET basis = 'split'")
    run_etl(data_dir, "A,2024-01-03,5,6,4,5,7\nA,2024-01-04,0,6,4,5,7\n", code=1)
    page = write_page(data_dir)
    assert page.tables["fates"][1] == ["A", "2", "0", "0", "0", "0", "1", "0", "1"]
    assert "set SOURCE_ADJUSTMENT=split" in page.texts["failures"]
    assert "judged and not loaded" in page.texts["came"]


def test_a_first_run_that_failed_has_a_page_without_a_store(data_dir: Path) -> None:
    assert call_stage(run_all, "--source", "files", "--path", data_dir / "nowhere") == 2
    page = write_page(data_dir)
    assert "nowhere: no file there" in page.texts["failures"]
    assert "There is no store yet" in page.texts["store"]


def test_a_killed_run_is_said_to_be_killed(own_sample: Path) -> None:
    record = read_record(own_sample)
    del record["stages"]["load"]["finished_at"]
    record["stages"]["load"]["status"] = "running"
    (own_sample / "runs" / f"{record['run_id']}.json").write_text(json.dumps(record))
    page = write_page(own_sample)
    assert "load killed" in page.texts["failures"]
    assert "run it again, nothing is lost" in page.texts["failures"]


def test_without_records_the_page_is_of_what_the_store_knows(own_sample: Path) -> None:
    before = write_page(own_sample)
    shutil.rmtree(own_sample / "runs")
    after = write_page(own_sample)
    assert after.tables == before.tables
    write_store(store_of(own_sample), "DELETE FROM etl_runs", "DELETE FROM etl_run_symbols")
    page = write_page(own_sample)
    assert "fates" not in page.tables
    assert page.tables["heatmap"] == before.tables["heatmap"]
    assert "No run is recorded" in (own_sample / "report.html").read_text()


def test_a_rollback_is_a_run_that_received_nothing(own_sample: Path) -> None:
    run_etl(own_sample, "AAPL,2024-01-02,5,6,4,5,7\n")
    assert call_stage(rollback.main) == 0
    assert "it published again what was 1-" in write_page(own_sample).texts["came"]


def test_an_empty_data_folder_is_one_line_with_the_remedy(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_stage(report.main) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "no run is recorded: run the ETL first" in line
    assert not (data_dir / "report.html").exists()


@pytest.mark.parametrize(
    ("first", "last", "unit", "labels"),
    [
        ("2001-01-02", "2001-03-01", "month", ["1", "2", "3"]),
        pytest.param(
            *("1989-12-29", "2021-01-04", "year", ["89", "90", "21"]), marks=pytest.mark.long
        ),
        (
            "1919-12-31",
            "2019-01-02",
            "decade",
            ["1970s", "1980s", "2010s"],
        ),  # from where the calendar is
    ],
)
def test_the_columns_of_the_heat_map_suit_the_span(
    data_dir: Path, first: str, last: str, unit: str, labels: list[str]
) -> None:
    bars = make_bars(data_dir.parent / "b.parquet", [("A", first, 5.0), ("A", last, 5.0)])
    assert call_stage(load.main, "--input", bars) == 0
    page = write_page(data_dir)
    assert f"by symbol and {unit}" in page.texts["gaps"]
    header = next(row for row in page.tables["heatmap"] if row[0] == "symbol")
    assert [*header[1:3], header[-3]] == labels


def test_a_store_of_one_saturday_has_a_page_without_a_heat_map(data_dir: Path) -> None:
    bars = make_bars(data_dir.parent / "b.parquet", [("IBM", "2020-06-06", 5.0)])
    assert call_stage(load.main, "--input", bars) == 0
    assert "heatmap" not in write_page(data_dir).tables


def test_bars_of_days_that_no_calendar_knows_are_not_counted_as_present(data_dir: Path) -> None:
    days = ("2024-01-02", "2024-01-03", "2024-01-05")
    index = [("^FTSE", "2024-01-02", 5.0), ("^FTSE", "2024-01-05", 5.0)]
    bars = make_bars(data_dir.parent / "b.parquet", [*(("IBM", day, 5.0) for day in days), *index])
    assert call_stage(load.main, "--input", bars) == 0
    page = write_page(data_dir)
    [row] = page.tables["heatmap"][-1:]
    assert [row[0], *row[-2:]] == ["IBM", "75.0 %", "3 of 4"]
    assert "Not shown: 1 symbol of which no calendar is known." in page.texts["gaps"]
