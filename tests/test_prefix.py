"""Published below a path: behind a proxy that takes it away, and behind one that keeps it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from api.edge.gate import PREFIX, Proxies
from api.settings import SettingsError, to_networks
from tests.browser import find_browser, launch, visit
from tests.daemons import find_port, find_program, is_open, run_daemon
from tests.server import HOST, connect, make_settings, read_json, serve

BARS = "instruments/AAPL/ohlcv?limit=2"
CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen {host}:{port};
    location /market/ {{ proxy_pass {base}/; }}
    location /named/ {{ proxy_set_header X-Forwarded-Prefix /named; proxy_pass {base}; }}
  }}
}}
"""
needs_nginx = pytest.mark.skipif(not find_program("nginx"), reason="nginx is not installed")


@contextmanager
def run_nginx(base: str, folder: Path) -> Iterator[str]:
    """The address of an nginx that passes /market/ on without its prefix, /named/ with it."""
    port = find_port()
    written = folder / "nginx.conf"
    written.write_text(CONFIGURATION.format(folder=folder, host=HOST, port=port, base=base))
    command = ["nginx", "-p", folder, "-c", written, "-e", folder / "error.log"]
    with run_daemon(command, folder, lambda: is_open(port)):
        yield f"http://{HOST}:{port}"


@pytest.fixture(scope="module")
def proxied(sample_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(sample_dir, TRUSTED_PROXIES=HOST) as client:
        base = str(client.base_url).rstrip("/")
        with run_nginx(base, tmp_path_factory.mktemp("nginx")) as address:
            yield address


@needs_nginx
@pytest.mark.parametrize("prefix", ["market", "named"])
def test_every_address_in_an_answer_leads_on_below_the_prefix(proxied: str, prefix: str) -> None:
    root = f"{proxied}/{prefix}/"
    with connect(root) as client:
        first = client.get(BARS)
        assert first.status_code == 200, first.text
        following = first.json()["next"]
        assert first.headers["link"] == f'<{following}>; rel="next"'
        second = client.get(urljoin(str(first.url), following)).json()
        assert second["data"][0]["timestamp"] > first.json()["data"][-1]["timestamp"]
        for widget in read_json(client, f"{root}widgets.json").values():
            for param in widget["params"]:
                if "optionsEndpoint" in param:
                    assert client.get(urljoin(root, param["optionsEndpoint"])).status_code == 200
        schema = read_json(client, f"{root}openapi.json")
        server = urljoin(f"{root}openapi.json", schema["servers"][0]["url"])
        assert httpx.URL(server) == httpx.URL(root)


@pytest.mark.long
@needs_nginx
@pytest.mark.skipif(not find_browser(), reason="no Chromium is installed")
def test_the_page_and_the_docs_ask_below_the_prefix(proxied: str) -> None:
    with launch() as browser, visit(browser, f"{proxied}/market") as seen:
        seen.open("/")
        assert "AAPL" in seen.read("body")
        page = seen.page
        page.goto(f"{proxied}/market/docs")
        operation = page.locator(".opblock", has_text="/instruments/{symbol}/ohlcv").first
        operation.locator(".opblock-summary-control").click()
        operation.locator(".try-out__btn").click()
        with page.expect_response(lambda answer: "/ohlcv" in answer.url) as answered:
            operation.locator(".execute").click()
        assert answered.value.status == 200
        assert all(url.startswith(f"{proxied}/market/") for url in seen.requests), seen.requests
        assert seen.faults == []


def test_a_proxy_that_keeps_the_prefix_needs_it_as_a_setting(sample_dir: Path) -> None:
    with serve(sample_dir, ROOT_PATH="/a/market/") as client:
        assert client.get(f"/a/market/{BARS}").json()["count"] == 2
        assert client.get("/a/market/health").json()["status"] == "ok"
        assert client.get(f"/{BARS}").json()["count"] == 2
        assert client.get("/other/health").status_code == 404


def test_a_prefix_is_taken_from_nobody_who_is_not_trusted(sample_dir: Path) -> None:
    sent = {"X-Forwarded-Prefix": "/named"}
    for trusted, status in (("", 404), ("10.0.0.0/8", 404), ("10.0.0.0/8, 127.0.0.0/8", 200)):
        with serve(sample_dir, TRUSTED_PROXIES=trusted) as client:
            assert client.get(f"/named/{BARS}", headers=sent).status_code == status


@pytest.mark.parametrize(
    ("given", "root"),
    [
        *(("/x", "/x"), ("/x/", "/x"), ("/x/y.z", "/x/y.z"), ("/", ""), ("", "")),
        *(("x", "/set"), ("//evil.example", "/set"), ("/x?y", "/set"), ("/x, /y", "/set")),
        ("/" + "x" * 65, "/set"),
    ],
)
def test_only_a_path_is_taken_for_a_prefix(given: str, root: str) -> None:
    proxies = Proxies("/set", to_networks("::1, 192.0.2.0/24"))
    head = {b"x-forwarded-prefix": given.encode()}
    assert proxies.find_root(("::ffff:192.0.2.7", 1), head) == root
    assert proxies.find_root(("192.0.3.7", 1), head) == "/set"
    assert proxies.find_root(None, head) == "/set"
    assert proxies.find_root(("::1", 1), {}) == "/set"
    assert not PREFIX.fullmatch("")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("ROOT_PATH", "market"), ("ROOT_PATH", "//market"), ("ROOT_PATH", "/mar ket")),
        *(("TRUSTED_PROXIES", "localhost"), ("TRUSTED_PROXIES", "10.0.0.1/8")),
    ],
)
def test_a_setting_that_is_no_path_or_network_is_refused(
    tmp_path: Path, name: str, text: str
) -> None:
    with pytest.raises(SettingsError, match=name):
        make_settings(tmp_path, **{name: text})
