"""Secrets out of HashiCorp Vault or OpenBao: one document of a KV engine, version 2.

hvac's messages carry the address, and may carry a token: only the class of an error is ever told.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from etl.credentials.errors import SettingsError
from etl.credentials.names import SECRETS, list_names
from etl.credentials.redaction import remember

TIMEOUT = 5.0  # seconds for one answer of the vault
FRESH = 5.0  # seconds in which the vault is not asked again, nor tried again where it failed
REMEDIES = {
    "VaultDown": "it is sealed: unseal it",
    "VaultNotInitialized": "it is not initialised",
    "Forbidden": "VAULT_ROLE_ID, VAULT_SECRET_ID or VAULT_TOKEN opens it no more, or its policy"
    " does not allow to read VAULT_PATH",
    "InvalidRequest": "VAULT_ROLE_ID or VAULT_SECRET_ID is not taken",
    "InvalidPath": "there is nothing at VAULT_PATH, which is mount/path of a KV engine, version 2",
}
UNREACHED = "it cannot be reached: start it, or correct VAULT_ADDR"


class VaultFault(SettingsError):
    """The vault does not give what it was asked for."""


@dataclass(frozen=True)
class Login:
    """What opens the vault: an AppRole, else a token."""

    role_id: str
    secret_id: str
    token: str


class Vault:
    """path: of the document, its first part is the mount. read_login: asked for each login, for
    what opens the vault may be replaced too."""

    def __init__(self, address: str, path: str, read_login: Callable[[], Login]) -> None:
        self.address = address
        self.mount, _, self.path = path.strip("/").partition("/")
        self.read_login = read_login
        self.lock = threading.Lock()
        self.client: Any = None
        self.asked_at = float("-inf")
        self.found: Mapping[str, tuple[str, ...]] | VaultFault = {}

    def read(self, name: str) -> tuple[str, ...]:
        """The values of a secret, current first; () where the document has none of this name.

        Raises VaultFault. Answers for FRESH seconds by what was found last, good or bad.
        """
        with self.lock:
            if time.monotonic() >= self.asked_at + FRESH:
                self.found = self.ask()
                self.asked_at = time.monotonic()
        if isinstance(self.found, VaultFault):
            raise self.found
        return self.found.get(name, ())

    def ask(self) -> Mapping[str, tuple[str, ...]] | VaultFault:
        try:
            import hvac.exceptions
        except ImportError:
            remedy = "install it by `make engines` (requirements-vault.txt), or unset VAULT_PATH"
            return VaultFault(f"VAULT_PATH wants the package hvac: {remedy}")
        import requests

        try:
            try:
                return read_document(self.fetch())
            except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
                self.client = None  # the lease of its token is over: log in once more
                return read_document(self.fetch())
        except (hvac.exceptions.VaultError, requests.RequestException, OSError) as error:
            self.client = None
            return describe(error)
        except (KeyError, TypeError, ValueError) as error:
            return describe(error, "its answer is none of a KV engine, version 2")

    def fetch(self) -> Any:
        """The whole answer about the document, as the vault gives it."""
        self.client = self.client or self.log_in()
        kv = self.client.secrets.kv.v2
        return kv.read_secret_version(
            path=self.path, mount_point=self.mount, raise_on_deleted_version=True
        )

    def log_in(self) -> Any:
        import hvac

        login = self.read_login()
        # a token is always given: without one hvac looks for its own in the environment
        client = hvac.Client(self.address, token=login.token, timeout=TIMEOUT)
        client.adapter.session.trust_env = False  # no proxy and no .netrc sees what is asked
        if login.role_id:
            client.token = ""
            client.auth.approle.login(role_id=login.role_id, secret_id=login.secret_id or None)
            remember([client.token])
        return client


def read_document(answer: Any) -> dict[str, tuple[str, ...]]:
    """The secrets in an answer; what else the document holds is not for us."""
    data = answer["data"]["data"]
    found = {}
    for name in SECRETS:
        given = next((data[each] for each in list_names(name) if data.get(each)), "")
        if not isinstance(given, str):
            raise TypeError(name)
        found[name] = tuple(line.strip() for line in given.splitlines() if line.strip())
    return found


def describe(error: Exception, remedy: str = "") -> VaultFault:
    kind = type(error).__name__
    remedy = remedy or REMEDIES.get(kind, UNREACHED)
    return VaultFault(f"the vault (VAULT_ADDR) gives no secrets ({kind}): {remedy}")
