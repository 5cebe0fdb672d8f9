"""What Prometheus and Alertmanager are given: their own tools take it, and each alert is tried."""

import json
import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from etl import __main__ as whole
from etl.bus.memory import MemoryBus
from etl.contracts.minutes.engines import Place, open_place
from etl.feed import telling
from etl.feed.consumer import Consumer
from etl.settings import PROJECT_ROOT, Settings, read_settings
from tests.conftest import call_stage
from tests.server import NO_ENV_FILE, serve

PROMETHEUS = PROJECT_ROOT / "deploy" / "prometheus"
ALERTMANAGER = PROJECT_ROOT / "deploy" / "alertmanager" / "alertmanager.yml"


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def list_rules(kind: str) -> list[dict[str, Any]]:
    """The rules of a kind (`alert` or `record`) in all rule files."""
    files = read_yaml(PROMETHEUS / "prometheus.yml")["rule_files"]
    groups = [group for name in files for group in read_yaml(PROMETHEUS / name)["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments",
    ["check config prometheus.yml", "test rules rules_test.yml late_test.yml"],
    ids=["check", "test"],
)
def test_prometheus_takes_configuration_and_rules_and_each_alert_does_what_it_says(
    arguments: str,
) -> None:
    done = run("promtool", *arguments.split(), folder=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("amtool"), reason="amtool is not installed")
def test_alertmanager_takes_its_configuration() -> None:
    done = run("amtool", "check-config", ALERTMANAGER.name, folder=ALERTMANAGER.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_each_alert_is_seen_to_fire_and_to_be_silent() -> None:
    tried: dict[str, set[bool]] = {}
    for name in ("rules_test.yml", "late_test.yml"):
        cases = (test["alert_rule_test"] for test in read_yaml(PROMETHEUS / name)["tests"])
        for case in chain.from_iterable(cases):
            tried.setdefault(case["alertname"], set()).add("exp_alerts" in case)
    assert tried == {rule["alert"]: {True, False} for rule in list_rules("alert")}


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in list_rules("alert"):
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_who_silences_another_alert_and_who_is_silenced_are_alerts() -> None:
    alerts = {rule["alert"] for rule in list_rules("alert")}
    for rule in read_yaml(ALERTMANAGER)["inhibit_rules"]:
        (source,), (target,) = rule["source_matchers"], rule["target_matchers"]
        assert source.removeprefix("alertname = ") in alerts
        for pattern in re.findall(r'"(.*)"', target)[0].split("|"):
            assert any(re.fullmatch(pattern, name) for name in alerts), pattern


def test_the_webhook_is_read_from_a_file() -> None:
    (receiver,) = read_yaml(ALERTMANAGER)["receivers"]
    for slack in receiver["slack_configs"]:
        assert "api_url" not in slack
        assert slack["api_url_file"].startswith("/")


def test_the_dashboard_asks_for_what_the_rules_record() -> None:
    asked = set(re.findall(r"mds:\w+:\w+", " ".join(list_expressions())))
    recorded = {rule["record"] for rule in list_rules("record")}
    assert asked <= recorded
    assert recorded - asked == set()


def list_expressions() -> list[str]:
    """What the dashboard asks, and the rules."""
    board = json.loads((PROMETHEUS / "dashboard.json").read_text())
    targets = [target for panel in board["panels"] for target in panel.get("targets", ())]
    rules = [*list_rules("alert"), *list_rules("record")]
    return [each["expr"] for each in (*targets, *rules)]


def test_no_panel_lies_over_another() -> None:
    panels = json.loads((PROMETHEUS / "dashboard.json").read_text())["panels"]
    places = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


METRIC = re.compile(r"(?<![\w:])mds_\w+")
SAMPLE = re.compile(r"^(mds_\w+?)(?:\{(.*)\})? \S+$", re.MULTILINE)


def read_names(exposition: str) -> dict[str, set[str]]:
    """Each metric that is declared, and the labels of its samples."""
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", exposition, re.MULTILINE))
    ends = {"histogram": "_bucket"}
    labels: dict[str, set[str]] = {name + ends.get(kinds[name], ""): set() for name in kinds}
    for name, text in SAMPLE.findall(exposition):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', text))
    return labels


@pytest.fixture
def told(data_dir: Path, sample_dir: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Metrics and labels of what two real runs leave for node_exporter, and of a real scrape."""
    textfile, prices = data_dir.parent / "mds.prom", data_dir.parent / "IBM.csv"
    monkeypatch.setenv("METRICS_TEXTFILE", str(textfile))
    texts = []
    for text, code in (("date,open,high,low,close\n2012-01-03,1,2,1,2\n", 0), ("no bars\n", 1)):
        prices.write_text(text)
        assert call_stage(whole.main, "--source", "files", "--path", prices) == code
        texts.append(textfile.read_text())
    minutes = "postgresql://nobody@127.0.0.1:1/none"  # of which alone is told that it is down
    with serve(sample_dir, METRICS="on", MINUTE_STORE=minutes) as client:
        ask_all_ways(client)
        texts.append(client.get("/metrics").text)
    texts.append(tell_live(data_dir))
    found: dict[str, set[str]] = {}
    for text in texts:
        for name, labels in read_names(text).items():
            found.setdefault(name, set()).update(labels)
    return found


def tell_live(data_dir: Path) -> str:
    """What a consumer of live bars tells."""
    settings = read_settings(Settings, environ={"DATA_DIR": str(data_dir)}, env_file=NO_ENV_FILE)
    store = open_place(Place(data_dir))
    try:
        return telling.show(Consumer(settings, MemoryBus(1), store))
    finally:
        store.close()


def ask_all_ways(client: httpx.Client) -> None:
    for url in ("/instruments/AAPL/ohlcv?limit=2", "/instruments/AAPL/ohlcv?limit=2", "/none"):
        client.get(url)


def test_every_metric_that_rules_and_dashboard_name_is_one(told: dict[str, set[str]]) -> None:
    named = set(METRIC.findall("\n".join(list_expressions())))
    assert len(named) > 25
    assert named - set(told) == set()


def test_every_label_that_they_part_by_is_one_of_that_metric(told: dict[str, set[str]]) -> None:
    parted = [
        (METRIC.findall(each)[0], set(re.split(r", ?", labels)))
        for each in list_expressions()
        for labels in re.findall(r"\bby \(([\w, ]+)\)", each)
        if METRIC.findall(each)
    ]
    assert parted
    assert [(name, by) for name, by in parted if told[name] and not by <= told[name]] == []
    for name in ("mds_data_due_timestamp_seconds", "mds_etl_failures", "mds_etl_rows"):
        assert told[name], f"{name} has no sample here, so its labels are not compared"
