"""Every secret of the service by its name. A vendor's key is one more line here."""

# Each may also be had from the file that <NAME>_FILE names, and from the vault.
SECRETS = (
    "AV_API_KEY",
    "ALPACA_KEY_ID",
    "ALPACA_SECRET_KEY",
    "MASSIVE_API_KEY",
    "JWT_KEY",
    "JWT_KEY_PREVIOUS",
    "METRICS_TOKEN",
    "FOLLOW_KEY",
    "MINUTE_STORE_PASSWORD",
)
# What opens the vault: from the environment, a file or .env.
VAULT_SECRETS = ("VAULT_SECRET_ID", "VAULT_TOKEN")
# A secret → another that holds values before it, which stay valid.
PREVIOUS = {"JWT_KEY": "JWT_KEY_PREVIOUS"}
# What others call the keys of these vendors.
ALIASES = {
    **dict.fromkeys(
        ("ALPHAVANTAGE_API_KEY", "ALPHA_VANTAGE_API_KEY", "ALPHAVANTAGE_KEY", "ALPHA_VANTAGE_KEY"),
        "AV_API_KEY",
    ),
    **dict.fromkeys(("APCA_API_KEY_ID", "ALPACA_API_KEY_ID"), "ALPACA_KEY_ID"),
    **dict.fromkeys(("APCA_API_SECRET_KEY", "ALPACA_API_SECRET_KEY"), "ALPACA_SECRET_KEY"),
    **dict.fromkeys(("POLYGON_API_KEY", "MASSIVE_KEY", "POLYGON_KEY"), "MASSIVE_API_KEY"),
}
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")  # in the name of what is never shown


def list_files() -> tuple[str, ...]:
    """The names of the settings that name files of secrets."""
    return tuple(f"{name}_FILE" for name in (*SECRETS, *VAULT_SECRETS))


def list_names(name: str) -> tuple[str, ...]:
    """The name of a secret, and what others call it."""
    return name, *(alias for alias, meant in ALIASES.items() if meant == name)


def is_secret(name: str) -> bool:
    """Whether a setting of this name, ours or another's, holds what nobody may see."""
    return any(word in name for word in SECRET_WORDS) and not name.endswith("_FILE")
