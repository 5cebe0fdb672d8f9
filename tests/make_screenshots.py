"""Write the README's pictures of the page, and print how fast and how heavy it is.

    python -m tests.make_screenshots

Serves the sample, opens it in the system's Chromium, and writes api/page/files/screenshots/. Then
opens 20 years of daily bars of one symbol: milliseconds till the chart is drawn, from a cold cache.
"""

import io
import tempfile
from datetime import date, timedelta
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from api.page.routes import FOLDER
from tests.browser import find_browser, launch, visit
from tests.conftest import clean_environ, make_bars, run_stage
from tests.server import serve, serve_process
from tests.stores import load_file

PICTURES = {
    "chart": ("dark", "/?symbol=AAPL&range=1Y&indicators=ema:50,bbands:20:2&drawdown=1"),
    "comparison": ("light", "/?symbol=AAPL&range=5Y&against=MSFT,IBM,GOOG&log=1"),
}
SIZE = (1280, 800)
COLORS = 256
YEARS, OPENINGS = 20, 5

MEASURE = """() => {
  const loaded = [...performance.getEntriesByType("navigation"),
    ...performance.getEntriesByType("resource")];
  const isPart = ({ name }) => name.includes("/dashboard/") || name.includes("/?");
  const weigh = (entries) => entries.reduce((sum, { transferSize }) => sum + transferSize, 0);
  return {
    paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
    drawn: performance.getEntriesByName("chart drawn")[0].startTime,
    page: weigh(loaded.filter(isPart)),
    data: weigh(loaded.filter((entry) => !isPart(entry))),
    requests: loaded.length,
  };
}"""


def main() -> int:
    if not find_browser():
        print("no Chromium here: apt-get install chromium")
        return 1
    with launch() as browser, tempfile.TemporaryDirectory() as folder:
        take_pictures(browser, Path(folder, "sample"))
        measure_paint(browser, Path(folder, "years"))
    return 0


def take_pictures(browser: Browser, data_dir: Path) -> None:
    done = run_stage("-m", "etl", env=clean_environ(data_dir, SOURCE="sample"))
    assert done.returncode == 0, done.stderr
    with serve(data_dir) as client:
        for name, (scheme, address) in PICTURES.items():
            with visit(browser, client.base_url, SIZE, scheme) as seen:
                seen.open(address)
                picture = Image.open(io.BytesIO(seen.page.screenshot())).convert("RGB")
            path = FOLDER / "screenshots" / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            picture.quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                path, optimize=True
            )
            print(f"{path.name}: {path.stat().st_size:,} bytes")


def measure_paint(browser: Browser, data_dir: Path) -> None:
    first = date(2006, 1, 2)
    days = [first + timedelta(n) for n in range(int(YEARS * 365.25))]
    bars = [("X", str(day), 50 + n % 97) for n, day in enumerate(days) if day.weekday() < 5]
    load_file(data_dir, make_bars(data_dir / "in" / "clean.parquet", bars))
    with serve_process(data_dir) as client:
        for _ in range(OPENINGS):
            with visit(browser, client.base_url, SIZE) as seen:
                seen.open("/?symbol=X&range=All")
                found = seen.page.evaluate(MEASURE)
            print(
                f"{len(bars):,} bars: first paint after {found['paint']:.0f} ms, chart drawn after"
                f" {found['drawn']:.0f} ms; {found['requests']} requests,"
                f" page {found['page']:,} bytes, data {found['data']:,} bytes"
            )


if __name__ == "__main__":
    raise SystemExit(main())
