"""A private S3 on a free port of the loopback: moto's server, in an environment of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from etl.settings import PROJECT_ROOT
from tests.daemons import find_port, is_open, run_daemon
from tests.server import HOST

BUCKET = "market-data"
# Whatever they are, moto takes them.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def find_moto() -> Path:
    """Skips the test where there is none."""
    named = os.environ.get("MOTO_SERVER", "")
    found = Path(named) if named else PROJECT_ROOT / ".venv-moto" / "bin" / "moto_server"
    if not found.is_file():
        pytest.skip("moto_server is not installed: make engines, or MOTO_SERVER=/path/to/it")
    return found


@contextmanager
def run_s3(folder: Path) -> Iterator[str]:
    """Its address, with one empty bucket."""
    port = find_port()
    command = [str(find_moto()), "-H", HOST, "-p", str(port)]
    with run_daemon(command, folder, lambda: is_open(port)):
        address = f"http://{HOST}:{port}"
        httpx.put(f"{address}/{BUCKET}", trust_env=False).raise_for_status()
        yield address
