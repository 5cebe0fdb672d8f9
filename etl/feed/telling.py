"""What live bars tell node_exporter's textfile collector, every few seconds (METRICS_TEXTFILE)."""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from etl.base.whole_files import write_whole
from etl.bus import BusDown, BusState
from etl.feed.consumer import Consumer
from etl.settings import Settings

log = logging.getLogger("etl")

EVERY = 5.0  # seconds
HELP = {
    "mds_bus_waiting": "Entries of live bars that are not stored yet",
    "mds_bus_oldest_seconds": "Age of the oldest of them",
    "mds_bus_dropped": "Entries that were dropped for want of room, since the bus was made",
    "mds_bus_dead": "Live bars that could not be stored, kept apart (make dead)",
    "mds_live_bars": "Live bars by what became of them, since this consumer began",
    "mds_live_lag_seconds": "From the arrival of a batch's newest bar to its publication",
}
OUTCOMES = ("inserted", "changed", "confirmed", "stale", "repeated")


@dataclass
class Teller:
    """Writes beside what the runs of the ETL tell; one file a consumer of this machine."""

    settings: Settings
    told_at: float = field(default=0.0)

    def tell(self, consumer: Consumer) -> None:
        path = self.settings.metrics_textfile
        if path is None or time.monotonic() - self.told_at < EVERY:
            return
        self.told_at = time.monotonic()
        try:
            folder = path if path.is_dir() else path.parent
            folder.mkdir(parents=True, exist_ok=True)
            text = show(consumer)
            with write_whole(folder / name_file(), is_shared=True) as next_path:
                next_path.write_text(text)
        except (OSError, BusDown) as error:
            log.warning("METRICS_TEXTFILE was not written: %s", error)


def name_file() -> Path:
    return Path(f"market_data_live_{os.getpid()}.prom")


def show(consumer: Consumer) -> str:
    """Prometheus' text format."""
    samples = dict(list_samples(consumer, consumer.bus.measure()))
    consumer_label = f'consumer="{os.getpid()}"'
    lines = []
    for name, help_ in HELP.items():
        lines += [f"# HELP {name} {help_}", f"# TYPE {name} gauge"]
        lines += [
            f"{name}{{{consumer_label}{labels}}} {float(value)!r}"
            for (of, labels), value in samples.items()
            if of == name
        ]
    return "\n".join(lines) + "\n"


def list_samples(consumer: Consumer, bus: BusState) -> Iterator[tuple[tuple[str, str], float]]:
    """((name, labels), value)."""
    yield ("mds_bus_waiting", ""), bus.waiting
    yield ("mds_bus_oldest_seconds", ""), time.time() - bus.oldest if bus.oldest else 0.0
    yield ("mds_bus_dropped", ""), bus.dropped
    yield ("mds_bus_dead", ""), bus.dead
    yield ("mds_live_lag_seconds", ""), consumer.state.lag
    for name, count in zip(OUTCOMES, consumer.state.stored, strict=True):
        yield ("mds_live_bars", f',outcome="{name}"'), count
