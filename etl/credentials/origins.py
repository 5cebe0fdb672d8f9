"""Where a secret comes from: environment, the file that <NAME>_FILE names, vault, .env.

The first that has it has the say, whatever the others hold. An empty variable hides what .env says,
as of any setting, and neither a file nor the vault.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from etl.credentials.errors import SettingsError
from etl.credentials.names import PREVIOUS, VAULT_SECRETS, list_names
from etl.credentials.redaction import remember
from etl.credentials.vault import Login, Vault

MOST_BYTES = 64 * 1024  # of a file that holds a secret
Layer = Mapping[str, object]


@dataclass
class Origins:
    """The origins of the secrets of one process.

    given: options of a command line, and the environment. read_env_file: .env as it is now.
    folder: where relative paths start.
    """

    given: tuple[Layer, ...]
    read_env_file: Callable[[], Layer]
    folder: Path
    vault: Vault | None = field(init=False)

    def __post_init__(self) -> None:
        self.vault = self.open_vault()

    def open_vault(self) -> Vault | None:
        """The vault, if VAULT_PATH chooses it. It is not asked before a secret is wanted."""
        address, path = self.find("VAULT_ADDR"), self.find("VAULT_PATH").strip("/")
        if not path:
            return None
        if not address:
            raise SettingsError("VAULT_PATH wants VAULT_ADDR too: the address of the vault")
        if "/" not in path:
            raise SettingsError(f"VAULT_PATH={path!r}: wanted mount/path, as secret/market-data")
        return Vault(address, path, self.read_login)

    def read_login(self) -> Login:
        secret_id, token = (next(iter(self.read(name)), "") for name in VAULT_SECRETS)
        remember((secret_id, token))
        return Login(self.find("VAULT_ROLE_ID"), secret_id, token)

    def read(self, name: str) -> tuple[str, ...]:
        """The values of a secret, the current one first; () where nobody has it.

        Raises SettingsError where an origin that should have the say cannot be asked.
        """
        own = next((found for found in self.ask_in_turn(name) if found), ())
        before = self.read(PREVIOUS[name]) if name in PREVIOUS and own else ()
        return tuple(dict.fromkeys((*own, *before)))

    def ask_in_turn(self, name: str) -> Iterator[tuple[str, ...]]:
        for layer in self.given:
            yield split(layer.get(name))
        if path := self.find(f"{name}_FILE"):
            yield read_secret_file(f"{name}_FILE", self.folder / Path(path).expanduser())
            return
        if self.vault and name not in VAULT_SECRETS:
            yield self.vault.read(name)
        if not any(layer.get(name) is not None for layer in self.given):
            yield split(self.read_env_file().get(name))

    def is_moving(self, name: str) -> bool:
        """Whether the secret may be another later: it does not come from the environment."""
        if any(split(layer.get(name)) for layer in self.given):
            return name in PREVIOUS and self.is_moving(PREVIOUS[name])
        has_file = bool(self.find(f"{name}_FILE") or self.read_env_file().get(name))
        return has_file or self.vault is not None

    def find(self, name: str) -> str:
        """A setting that says where secrets are."""
        layers = (*self.given, self.read_env_file())
        return next((str(layer[name]).strip() for layer in layers if layer.get(name)), "")

    def remember_all(self, *names: str) -> None:
        """Strike from now on what can be known without asking anybody, used or not."""
        layers = (*self.given, self.read_env_file())
        for each in (each for name in names for each in list_names(name)):
            remember(value for layer in layers for value in split(layer.get(each)))


def split(value: object) -> tuple[str, ...]:
    """The lines of a value that are not empty."""
    return tuple(line.strip() for line in str(value or "").splitlines() if line.strip())


def read_secret_file(name: str, path: Path) -> tuple[str, ...]:
    """The lines of a file of secrets. What stands in it is never shown."""
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
        found = split(body.decode("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{name}={path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name}={path}: is no text in UTF-8") from None
    if not found or len(body) > MOST_BYTES:
        raise SettingsError(f"{name}={path}: wanted a secret a line; it is empty, or too large")
    return found
