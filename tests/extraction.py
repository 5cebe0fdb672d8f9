"""What the tests of extraction share: settings for a vendor on loopback, and one run of extract."""

import argparse
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from etl.base.clock import Clock
from etl.base.errors import EtlError
from etl.calls.archive import Archive
from etl.calls.ledger import Ledger, open_ledger
from etl.extract import extract
from etl.load import load
from etl.settings import Settings, read_settings
from etl.sources import paid
from etl.sources.alpha_vantage.source import AlphaVantage
from etl.transform import transform
from tests.vendor import FakeClock, Vendor

ROOT = Path(__file__).resolve().parents[1]
KEY = "QX7SECRETKEY42"


def settings_for(folder: Path, vendor: Vendor, **given: Any) -> Settings:
    """Settings that read neither the environment nor .env."""
    options = {
        "DATA_DIR": str(folder),
        "AV_API_KEY": KEY,
        "AV_BASE_URL": vendor.url,
        "SOURCE": "alpha_vantage",
        "CORPORATE_ACTIONS_DAYS": "0",
        "HTTP_TIMEOUT": "5",
        **{name: str(value) for name, value in given.items()},
    }
    return read_settings(Settings, options, {}, folder / "no.env")


def run_extract(settings: Settings, clock: Clock, **options: Any) -> EtlError | None:
    """One run; the error that it ended with."""
    args = argparse.Namespace(strict=False, **options)
    try:
        extract(settings, args, None, clock)
    except EtlError as error:
        return error
    return None


def open_archive(settings: Settings) -> Archive:
    return paid.open_archive(settings, AlphaVantage(settings))


def read_ledger(settings: Settings) -> Ledger:
    return open_ledger(settings.data_dir, AlphaVantage(settings))


def read_raw(settings: Settings) -> list[dict[str, Any]]:
    return pq.read_table(settings.raw_path).to_pylist() if settings.raw_path.exists() else []


def raw_symbols(settings: Settings) -> set[str]:
    return {row["symbol"] for row in read_raw(settings)}


def set_day(clock: FakeClock, now: datetime) -> None:
    """Let the time pass until then."""
    clock.sleep((now - clock.now()) / timedelta(seconds=1))


def start_process(settings: Settings, module: str, *options: str) -> "subprocess.Popen[str]":
    """A stage as a process of its own; its settings come by the environment."""
    environ = {
        **{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")},
        "DATA_DIR": str(settings.data_dir),
        "AV_API_KEY": settings.av_api_key.value,
        "AV_BASE_URL": settings.av_base_url,
        "SOURCE": "alpha_vantage",
        "SYMBOLS": ",".join(settings.symbols or ()),
        "CORPORATE_ACTIONS_DAYS": str(settings.corporate_actions_days),
        "AV_CALLS_PER_SECOND": str(settings.av_calls_per_second),
        "AV_CALLS_PER_DAY": str(settings.av_calls_per_day),
    }
    return subprocess.Popen(
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_everything(folder: Path) -> bytes:
    """Every file below a folder, names and bytes, packed ones unpacked too."""
    import gzip

    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        body = path.read_bytes()
        found += [str(path.relative_to(folder)).encode(), body]
        if path.suffix == ".gz":
            found.append(gzip.decompress(body))
        if path.suffix == ".parquet":
            found.append(str(pq.read_table(path).to_pylist()).encode())
    return b"\n".join(found)


def finish_load(settings: Settings) -> None:
    """Take what was extracted to the store, as `make etl` does."""
    transform(settings, argparse.Namespace())
    load(settings, argparse.Namespace())
