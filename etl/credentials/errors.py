"""The one error of settings; here, since a secret is a setting that may not be had."""


class SettingsError(Exception):
    """A setting or an option has a value that cannot be used; the message says what can."""
