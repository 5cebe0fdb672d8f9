"""The API served for real: an app in a thread of this process, or `python -m api.main`.

Both listen on a free port of the loopback and read a real DuckDB file.
"""

import json
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import urljoin

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from api.edge.protocol import Protocol
from api.main import create_app
from api.settings import ApiSettings, list_settings, read_settings
from etl.settings import PROJECT_ROOT
from tests.conftest import clean_environ

HOST = "127.0.0.1"
PATIENCE = 120.0  # seconds until a test gives up waiting for something to be ready
QUERY_TIMEOUT = "20"
NO_ENV_FILE = Path("no .env")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # empty: to load certificates takes a while


def make_settings(data_dir: Path, **settings: object) -> ApiSettings:
    """The API's settings: these, and the default of every other; but a busy machine is no fault."""
    given = {"DATA_DIR": str(data_dir), "QUERY_TIMEOUT": QUERY_TIMEOUT, **settings}
    return read_settings(ApiSettings, given, environ={}, env_file=NO_ENV_FILE)


def connect(base_url: httpx.URL | str) -> httpx.Client:
    """A client that asks for no compression unless a test does."""
    headers = {"Accept-Encoding": "identity"}
    return httpx.Client(
        base_url=base_url, headers=headers, timeout=PATIENCE, trust_env=False, verify=NO_TLS
    )


def connect_async(base_url: httpx.URL) -> httpx.AsyncClient:
    """A client of any number of connections."""
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(
        base_url=base_url, limits=limits, timeout=PATIENCE, trust_env=False, verify=NO_TLS
    )


@contextmanager
def serve(data_dir: Path, **settings: object) -> Iterator[httpx.Client]:
    """A client of a new app over `data_dir`, served by a thread of this process."""
    with serve_app(create_app(make_settings(data_dir, **settings))) as client:
        yield client


@contextmanager
def serve_app(app: FastAPI) -> Iterator[httpx.Client]:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            ws="none",
            http=Protocol,
            log_config=None,
            server_header=False,
            proxy_headers=False,
        )
    )
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            with connect(f"http://{HOST}:{listener.getsockname()[1]}") as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def serve_process(data_dir: Path, **settings: str) -> Iterator[httpx.Client]:
    """A client of `python -m api.main`, once that answers."""
    port = find_port()
    env = clean_environ(data_dir, **{**server_environ(port), **settings})
    command = [sys.executable, "-m", "api.main"]
    log = data_dir.parent / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=env, cwd=PROJECT_ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            with connect(f"http://{HOST}:{port}") as client:
                wait_until(lambda: process.poll() is not None or is_answering(client))
                assert process.poll() is None, log.read_text()
                yield client
        finally:
            process.terminate()
            process.wait(PATIENCE)


def find_port() -> int:
    """A free port for a server that is told it, of those that the system gives to no connection:
    so that none takes it before the server does."""
    while True:
        port = 12_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port


def server_environ(port: int) -> dict[str, str]:
    """No settings but the port and much time; and none of who runs the tests."""
    names = [setting["name"] for setting in list_settings(ApiSettings)]
    empty = {name: "" for name in names if name != "DATA_DIR"}
    return {**empty, "API_PORT": str(port), "QUERY_TIMEOUT": QUERY_TIMEOUT}


def is_answering(client: httpx.Client) -> bool:
    try:
        client.get("/health")
    except httpx.TransportError:
        return False
    return True


def wait_until(is_ready: Callable[[], bool]) -> None:
    """Ask again and again, a bounded time."""
    deadline = time.monotonic() + PATIENCE
    while not is_ready():
        assert time.monotonic() < deadline, "not ready in time"
        time.sleep(0.01)


def walk_pages(client: httpx.Client, url: str) -> Iterator[dict[str, Any]]:
    """Every page from `url` on, by `next`."""
    asked: set[str] = set()
    while url not in asked:
        asked.add(url)
        page = client.get(url).raise_for_status().json()
        yield page
        if not page["next"]:
            return
        url = urljoin(url, page["next"])
    raise AssertionError(f"{url} leads to itself")


def read_json(client: httpx.Client, url: str) -> Any:
    """The answer to `url`, which must be a 200, and JSON: no NaN, no Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in the answer to {url}")

    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.content, parse_constant=refuse)


def check_answer(answer: dict[str, Any], model: type[BaseModel]) -> None:
    """The answer, and each row in it, has the fields that its model declares and no other."""
    fields = model.model_fields
    assert list(answer) == [n for n in fields if fields[n].is_required() or n in answer]
    forbid_more(model).model_validate(answer)
    for name, field in fields.items():
        item = find_item(field.annotation)
        if isinstance(answer.get(name), list) and isinstance(item, type(BaseModel)):
            for row in answer[name]:
                check_answer(row, item)


def find_item(annotation: Any) -> Any:
    """What a list, or the list among several possibilities, is of; None where there is none."""
    possible = (annotation, *get_args(annotation))
    return next((get_args(each)[0] for each in possible if get_origin(each) is list), None)


def forbid_more(model: type[BaseModel]) -> type[BaseModel]:
    """The model, but a field that it does not declare is an error."""
    config = ConfigDict(extra="forbid", strict=True)
    return type(model.__name__, (model,), {"model_config": config})
