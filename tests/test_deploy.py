"""Units, containers and nginx of deploy/: the programs that they are for take them as they are."""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from api.settings import ApiSettings, list_settings
from etl.credentials.names import list_files
from etl.settings import PROJECT_ROOT, Settings
from tests.daemons import find_port, find_program, is_open, run_daemon
from tests.server import HOST, PATIENCE, serve

DEPLOY = PROJECT_ROOT / "deploy"
DOCKER = DEPLOY / "docker"
SERVICES = ("mds-api.service", "mds-etl.service", "mds-schedule.service", "mds-worker.service")
UNITS = (*SERVICES, "mds-etl.timer")
NAMES = {
    *(setting["name"] for kind in (Settings, ApiSettings) for setting in list_settings(kind)),
    *list_files(),
}
needs_systemd = pytest.mark.skipif(
    not find_program("systemd-analyze"), reason="systemd-analyze is not installed"
)


def run(*command: str | Path, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


# systemd


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with this project's folder for /opt/mds, and the drop-ins in use."""
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/mds", str(PROJECT_ROOT)))
    for name in SERVICES:
        (tmp_path / f"{name}.d").mkdir()
        of = "mds-api" if name == "mds-api.service" else "mds-etl"
        credentials = DEPLOY / "systemd" / f"{of}.credentials.conf"
        for part in (credentials, DEPLOY / "logs" / "files.conf"):
            shutil.copy(part, tmp_path / f"{name}.d")
    return tmp_path


@needs_systemd
def test_systemd_has_nothing_to_say_against_units_and_drop_ins(units: Path) -> None:
    done = run("systemd-analyze", "verify", *(f"./{name}" for name in UNITS), folder=units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_may_touch_little(units: Path, name: str) -> None:
    # of 10; 2 is what systemd calls OK, and most services of a distribution have 9
    limits = ("--offline=true", "--threshold=20")
    done = run("systemd-analyze", "security", *limits, f"./{name}", folder=units)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze rates no files")
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_the_timer_runs_every_day_after_the_close_in_new_york() -> None:
    timer = (DEPLOY / "systemd" / "mds-etl.timer").read_text()
    (when,) = re.findall(r"^OnCalendar=(.*)$", timer, re.MULTILINE)
    assert when.endswith("America/New_York")
    done = run("systemd-analyze", "calendar", "--iterations=8", when, folder=DEPLOY)
    instants = re.findall(r"(\d{4}-\d\d-\d\d) (\d\d):30:00 UTC", done.stdout)
    assert len({day for day, _ in instants}) == 8
    assert {hour for _, hour in instants} <= {"22", "23"}  # summer and winter


def test_units_set_what_is_a_setting() -> None:
    texts = [path.read_text() for path in (DEPLOY / "systemd").iterdir()]
    lines = re.findall(r"^Environment=(.*)$", "\n".join(texts), re.MULTILINE)
    named = {word.partition("=")[0] for line in lines for word in line.split()}
    assert named - NAMES == {"PYTHONDONTWRITEBYTECODE"}


# containers


def find_compose() -> list[str] | None:
    """The command that reads compose files: Docker's plugin, or the program before it."""
    if find_program("docker") and not run("docker", "compose", "version", folder=DOCKER).returncode:
        return ["docker", "compose"]
    return ["docker-compose"] if find_program("docker-compose") else None


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    """compose.yaml as Docker's own program understands it."""
    command = find_compose()
    if not command:
        pytest.skip("neither docker compose nor docker-compose is installed")
    done = run(*command, "-f", DOCKER / "compose.yaml", "config", folder=DOCKER)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = yaml.safe_load(done.stdout)
    return read


INSTANCES = tuple(f"api-{number}" for number in range(1, 5))
REDIS = ("redis-cache", "redis-counters", "redis-queue")


def test_compose_takes_the_file_with_four_instances_workers_redis_and_watchers(
    composed: dict[str, Any],
) -> None:
    others = {"nginx", "schedule", "worker", "prometheus", "alertmanager"}
    assert set(composed["services"]) == {*INSTANCES, *REDIS, *others}


def test_nginx_and_prometheus_ask_each_instance_which_know_their_own_names() -> None:
    services = read_compose()["services"]
    given = [services[name]["environment"] for name in INSTANCES]
    addresses = [f"{name}:8000" for name in INSTANCES]
    assert re.findall(r"server (\S+) ", (DOCKER / "nginx.conf").read_text()) == addresses
    (job,) = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": addresses}]
    for each in given:
        assert set(each["ALLOWED_HOSTS"].split(",")) >= set(INSTANCES)


def test_answers_may_be_pushed_out_of_redis_and_counters_may_not() -> None:
    services = read_compose()["services"]
    for setting, policy in (("CACHE_URL", "allkeys-lru"), ("RATE_LIMIT_URL", "noeviction")):
        named = {services[name]["environment"][setting] for name in INSTANCES}
        (redis,) = {url.removeprefix("redis://").partition(":")[0] for url in named}
        command = services[redis]["command"]
        assert command[command.index("--maxmemory-policy") + 1] == policy
        assert "--maxmemory" in command


def read_compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return read


def test_containers_set_what_is_a_setting_and_read_secrets_from_files() -> None:
    compose = read_compose()
    for service in compose["services"].values():
        given = service.get("environment", {})
        assert set(given) <= NAMES
        files = {Path(text).name for name, text in given.items() if name.endswith("_FILE")}
        assert files <= set(map(str, service.get("secrets", ())))
    assert all(
        Path(secret["file"]).parent.name == "secrets" for secret in compose["secrets"].values()
    )


def test_containers_have_no_rights_that_they_do_not_need() -> None:
    for name in (*INSTANCES, *REDIS, "nginx", "schedule", "worker"):
        service = read_compose()["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_no_port_is_open_to_other_machines() -> None:
    for service in read_compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_files_that_containers_mount_or_copy_are_there_and_secrets_are_kept_out() -> None:
    services = read_compose()["services"].values()
    mounts = [each.split(":")[0] for service in services for each in service.get("volumes", ())]
    assert [each for each in mounts if each.startswith(".") and not (DOCKER / each).exists()] == []
    copied = re.findall(r"^COPY (.*) \S+$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert names
    assert [name for name in names if not (PROJECT_ROOT / name).exists()] == []
    kept = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in kept  # nothing goes along that is not named
    taken = " ".join(line for line in kept if line.startswith("!"))
    assert not re.search(r"\.env|secrets|tests|\.git", taken)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_takes_the_configuration_of_its_container(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "prometheus", tmp_path / "rules")
    text = (DOCKER / "prometheus.yml").read_text()
    (tmp_path / "token").write_text("x")
    written = tmp_path / "prometheus.yml"
    written.write_text(text.replace("/run/secrets/metrics_token", str(tmp_path / "token")))
    done = run("promtool", "check", "config", "prometheus.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_queue_outlives_a_restart_and_its_workers_have_no_data() -> None:
    services = read_compose()["services"]
    command = services["redis-queue"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    for name, module in (("schedule", "etl.schedule"), ("worker", "etl.worker")):
        assert services[name]["command"] == ["python", "-m", module]
        assert services[name]["environment"]["QUEUE_URL"] == "redis://redis-queue:6379/0"
    assert services["worker"]["volumes"] == []


# nginx


@pytest.fixture(scope="module")
def published(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the service behind nginx as deploy/nginx has it, with TLS."""
    if not find_program("nginx") or not find_program("openssl"):
        pytest.skip("nginx or openssl is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    make_certificate(folder)
    settings = {"TRUSTED_PROXIES": HOST, "ALLOWED_HOSTS": "data.example.com"}
    with serve(sample_dir, **settings) as client:
        port = find_port()
        written = write_nginx(folder, port, int(client.base_url.port or 0))
        command = ["nginx", "-p", folder, "-c", written, "-e", folder / "error.log"]
        with run_daemon(command, folder, lambda: is_open(port)):
            trust = ssl.create_default_context(cafile=folder / "cert.pem")
            base = f"https://data.example.com:{port}"
            with httpx.Client(
                base_url=base, verify=trust, trust_env=False, timeout=PATIENCE
            ) as own:
                own._transport = Resolving(trust)
                yield own


class Resolving(httpx.HTTPTransport):
    """Finds data.example.com on the loopback, as a name server would."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        super().__init__(verify=trust)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host=HOST)
        return super().handle_request(request)


def make_certificate(folder: Path) -> None:
    made = run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2"),
        *("-subj", "/CN=data.example.com", "-addext", "subjectAltName=DNS:data.example.com"),
        folder=folder,
    )
    assert made.returncode == 0, made.stderr


def write_nginx(folder: Path, port: int, behind: int) -> Path:
    """The shipped servers, with the test's ports and certificate, and no folder of the machine."""
    servers = (DEPLOY / "nginx" / "mds.conf").read_text()
    for old, new in (
        ("listen 443", f"listen {HOST}:{port}"),
        ("listen 80", f"listen {HOST}:{find_port()}"),
        ("127.0.0.1:8000", f"{HOST}:{behind}"),
        ("/etc/ssl/certs/data.example.com.pem", f"{folder}/cert.pem"),
        ("/etc/ssl/private/data.example.com.key", f"{folder}/key.pem"),
    ):
        assert old in servers
        servers = servers.replace(old, new)
    return write_main(folder, servers)


def write_main(folder: Path, servers: str) -> Path:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    path = folder / "nginx.conf"
    http = f"access_log off; {folders}\n{servers}"
    path.write_text(f"daemon off; pid {folder}/pid; events {{}} http {{ {http}\n}}")
    return path


def test_bars_come_through_tls_below_the_path_and_lead_on(published: httpx.Client) -> None:
    first = published.get("/market/instruments/AAPL/ohlcv?limit=2")
    assert first.status_code == 200, first.text
    second = published.get(urljoin(str(first.url), first.json()["next"]))
    assert second.json()["data"][0]["timestamp"] > first.json()["data"][-1]["timestamp"]
    assert "max-age" in first.headers["strict-transport-security"]


def test_the_path_alone_leads_to_the_page_and_metrics_are_not_published(
    published: httpx.Client,
) -> None:
    assert published.get("/market").headers["location"].endswith("/market/")
    assert "text/html" in published.get("/market/").headers["content-type"]
    assert published.get("/market/metrics").status_code == 404


def test_instances_behind_nginx_answer_as_one_though_some_are_gone(
    sample_dir: Path, tmp_path: Path
) -> None:
    if not find_program("nginx"):
        pytest.skip("nginx is not installed")
    settings = {"TRUSTED_PROXIES": HOST, "RATE_LIMIT": "30/hour", "ALLOWED_HOSTS": "*"}
    with (
        serve(sample_dir, **settings) as first,
        serve(sample_dir, **settings) as second,
    ):
        ports = [find_port(), first.base_url.port, second.base_url.port, find_port()]
        front = find_port()
        servers = (DOCKER / "nginx.conf").read_text().replace("listen 8000", f"listen {front}")
        for name, port in zip(INSTANCES, ports, strict=True):
            servers = servers.replace(f"{name}:8000", f"{HOST}:{port}")
        command = ["nginx", "-p", tmp_path, "-c", write_main(tmp_path, servers)]
        errors = ["-e", tmp_path / "error.log"]
        with (
            run_daemon([*command, *errors], tmp_path, lambda: is_open(front)),
            httpx.Client(base_url=f"http://{HOST}:{front}", trust_env=False) as client,
        ):
            answers = [client.get("/instruments/AAPL/ohlcv?limit=2") for _ in range(20)]
            theirs = {"X-Forwarded-For": "10.1.2.3"}
            other = client.get("/instruments/AAPL/ohlcv?limit=2", headers=theirs)
            assert client.get("/metrics").status_code == 404
    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1
    left = [int(re.findall(r"r=(\d+)", each.headers["ratelimit"])[0]) for each in answers]
    assert sorted(left, reverse=True) == sorted([*range(29, 19, -1)] * 2, reverse=True), "in turns"
    assert "r=29" in other.headers["ratelimit"], "it is another client"
