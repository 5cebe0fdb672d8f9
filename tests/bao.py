"""A private OpenBao server in memory, on a free port of the loopback, with an AppRole that may read
one document. Skipped where the binary is not installed (make engines)."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.server import HOST, PATIENCE, find_port, wait_until

ROOT = "root-token-of-the-test"
PATH = "secret/market-data"
POLICY = 'path "secret/data/market-data" { capabilities = ["read"] }'


def find_bao() -> str:
    pytest.importorskip("hvac", reason="hvac is not installed: make engines")
    beside = Path(sys.executable).parent / "bao"
    found = str(beside) if beside.exists() else shutil.which("bao")
    if not found:
        pytest.skip("bao (OpenBao) is not installed: make engines")
    return found


class Bao:
    """One server; `start` again after `stop` gives an empty one on the same port."""

    def __init__(self, folder: Path) -> None:
        self.binary, self.port = find_bao(), find_port()
        self.address = f"http://{HOST}:{self.port}"
        self.output = folder / "bao.log"
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        import hvac

        command = [self.binary, "server", "-dev", "-dev-no-store-token"]
        command += [f"-dev-root-token-id={ROOT}", f"-dev-listen-address={HOST}:{self.port}"]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={"HOME": str(self.folder)}
            )
        self.client: Any = hvac.Client(self.address, token=ROOT)
        wait_until(self.is_ready)
        self.client.sys.create_or_update_policy("reader", POLICY)
        self.client.sys.enable_auth_method("approle")

    def is_ready(self) -> bool:
        import hvac

        assert self.process is not None
        assert self.process.poll() is None, self.output.read_text()
        try:
            return "secret/" in self.client.sys.list_mounted_secrets_engines()["data"]
        except (OSError, hvac.exceptions.VaultError):
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None
            self.client.adapter.close()

    def write(self, **secrets: object) -> None:
        self.client.secrets.kv.v2.create_or_update_secret(
            path="market-data", secret=secrets, mount_point="secret"
        )

    def make_role(self, token_ttl: str = "1h") -> dict[str, str]:
        """The settings of somebody who opens the vault by an AppRole."""
        role = self.client.auth.approle
        role.create_or_update_approle("reader", token_policies=["reader"], token_ttl=token_ttl)
        role_id = role.read_role_id("reader")["data"]["role_id"]
        secret_id = role.generate_secret_id("reader")["data"]["secret_id"]
        return {**self.settings, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}

    @property
    def settings(self) -> dict[str, str]:
        return {"VAULT_ADDR": self.address, "VAULT_PATH": PATH}

    @property
    def unseal_key(self) -> str:
        found = re.search(r"Unseal Key: (\S+)", self.output.read_text())
        assert found
        return found[1]


@contextmanager
def run_bao(folder: Path) -> Iterator[Bao]:
    bao = Bao(folder)
    try:
        bao.start()
        yield bao
    finally:
        bao.stop()
