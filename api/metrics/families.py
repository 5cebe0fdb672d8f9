"""Counts as families of metrics: prometheus_client's own, made anew at each scrape."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from api.counts import BOUNDS, BYTES, CELLS, COUNT, SECONDS, Key, Row
from etl.contracts.run_metrics import HELP, Sample

Rows = Mapping[Key, Row]
# Where this service goes on with less than it was set up for; each is told, in use or not.
FALLBACKS = ("redis_cache", "redis_limits", "vault", "source")
# key → name and help of a count without duration.
COUNTERS = {
    "timeouts": ("mds_store_timeouts", "Questions to the store that QUERY_TIMEOUT stopped", ()),
    "rate_limited": ("mds_rate_limited", "Requests refused by RATE_LIMIT", ()),
    "auth_refused": ("mds_auth_refused", "Callers refused, by reason", ("reason",)),
    "fallbacks": ("mds_fallbacks", "Times that something else stood in", ("what",)),
    "overflow": ("mds_counts_overflow", "Counts without a row of their own", ()),
}
GAUGES = {
    "in_flight": ("mds_http_requests_in_flight", "Requests that are being answered"),
    "answers": ("mds_cache_answers", "Finished answers in memory"),
    "answer_bytes": ("mds_cache_answers_bytes", "Bytes of finished answers in memory"),
    "answer_bound": ("mds_cache_answers_bound_bytes", "Most bytes of answers and series together"),
    "series": ("mds_cache_series", "Columns and texts of symbols in memory"),
    "series_bytes": ("mds_cache_series_bytes", "Bytes of columns and texts of symbols in memory"),
    "series_bound": ("mds_cache_series_bound_bytes", "Most bytes of answers and series together"),
}


def select(rows: Rows, kind: str) -> Iterator[tuple[Key, Row]]:
    """The rows of a kind, by the rest of their keys."""
    return ((key[1:], row) for key, row in rows.items() if key[0] == kind)


def add_up(rows: Iterable[tuple[Key, Row]], place: int) -> dict[Key, Row]:
    """The sums over rows that are alike at a place of the key."""
    sums: dict[Key, Row] = {}
    for key, row in rows:
        known = sums.get((key[place],))
        sums[(key[place],)] = (
            row if known is None else [a + b for a, b in zip(known, row, strict=True)]
        )
    return sums


def build_service(rows: Rows) -> Iterator[Metric]:
    """What workers counted of requests, questions, memory and refusals."""
    requests = CounterMetricFamily(
        "mds_http_requests", "Requests", labels=("route", "method", "status", "way")
    )
    for (route, _, method, status, way), row in select(rows, "requests"):
        requests.add_metric([str(part) for part in (route, method, status, way)], row[COUNT])
    yield requests
    by_group = add_up(select(rows, "requests"), 1)
    times = "Seconds from a request's head to the end of its answer"
    yield build_histogram("mds_http_request_duration_seconds", times, "class", by_group)
    sizes = CounterMetricFamily("mds_http_response_bytes", "Bytes of bodies", labels=("class",))
    for (group,), row in by_group.items():
        sizes.add_metric([str(group)], row[BYTES])
    yield sizes
    questions = dict(select(rows, "questions"))
    asked = "Seconds that a question to the store waited, and ran"
    yield build_histogram("mds_store_question_seconds", asked, "phase", questions)
    yield from build_counters(rows)
    yield from build_gauges(rows)


def build_histogram(name: str, help: str, label: str, rows: Mapping[Key, Row]) -> Metric:
    family = HistogramMetricFamily(name, help, labels=(label,))
    for (value,), row in rows.items():
        below, buckets = 0.0, []
        for bound, cell in zip((*BOUNDS, float("inf")), row[CELLS:], strict=True):
            below += cell
            buckets.append(("+Inf" if bound == float("inf") else str(bound), below))
        family.add_metric([str(value)], buckets, row[SECONDS])
    return family


def build_counters(rows: Rows) -> Iterator[Metric]:
    for kind, (name, help, labels) in COUNTERS.items():
        family = CounterMetricFamily(name, help, labels=labels)
        found = dict(select(rows, kind))
        if not labels:
            found.setdefault((), [0.0])
        if kind == "fallbacks":
            found = {**{(what,): [0.0] for what in FALLBACKS}, **found}
        for key, row in found.items():
            family.add_metric([str(part) for part in key], row[COUNT])
        yield family


def build_gauges(rows: Rows) -> Iterator[Metric]:
    now = {key: row[COUNT] for key, row in select(rows, "gauge")}
    for kind, (name, help) in GAUGES.items():
        yield GaugeMetricFamily(name, help, value=now.get((kind,), 0))
    in_use = GaugeMetricFamily(
        "mds_fallback_in_use", "Whether something else stands in now", labels=("what",)
    )
    for what in FALLBACKS:
        in_use.add_metric([what], min(1, now.get(("fallback", what), 0)))
    yield in_use


def build_gauge(name: str, help: str, value: float, labels: Mapping[str, str] | None = None) -> Any:
    family = GaugeMetricFamily(name, help, labels=tuple(labels or ()))
    family.add_metric(list((labels or {}).values()), value)
    return family


def build_samples(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Families of samples, in the order in which their names first come."""
    families: dict[str, GaugeMetricFamily] = {}
    for sample in samples:
        if sample.name not in families:
            labels = tuple(sample.labels)
            families[sample.name] = GaugeMetricFamily(sample.name, HELP[sample.name], labels=labels)
        families[sample.name].add_metric(list(sample.labels.values()), float(sample.value))
    yield from families.values()
