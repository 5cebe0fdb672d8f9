"""What the bytes of an answer depend on beside snapshot and request, as one short text.

It is a part of every key and ETag, so that two versions of this service, or two of its settings,
never give different bytes under one ETag.
"""

import hashlib
import platform
import zlib
from dataclasses import fields
from functools import cache

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from api.settings import ApiSettings
from etl.settings import PROJECT_ROOT, VERSION

ENCODERS = (
    VERSION,
    *(platform.python_version(), zlib.ZLIB_RUNTIME_VERSION),
    *(orjson.__version__, np.__version__, pa.__version__, duckdb.__version__),
)
# No byte of an answer depends on these; a setting that is not named here counts.
NOT_SHAPING = frozenset(
    {
        *(
            "data_dir",
            *("minute_store", "minute_store_password"),
            "log_level",
            "log_format",
            "access_log",
            "metrics",
            "api_host",
            "api_port",
            "api_workers",
        ),
        *(
            "cache_max_mb",
            "cache_url",
            "db_memory_mb",
            "work_max_mb",
            "query_timeout",
            "cors_origins",
            "allowed_hosts",
            "head_timeout",
            "client_connections",
            "streams_per_caller",
            "root_path",  # in the key itself
            "trusted_proxies",
            *("vault_addr", "vault_path", "vault_role_id", "vault_secret_id", "vault_token"),
            *("jwt_key", "jwt_key_previous", "metrics_token"),
            *("auth", "access_minutes", "sign_in_days", "users_db"),
            *("rate_limit", "rate_limit_url"),
            *("follow_url", "follow_seconds", "follow_key", "aws_endpoint_url"),
            # engines give the same bytes; what is in a store, the versions of its symbols tell
            *("minute_store", "minute_store_password"),
        ),
    }
)


def build_fingerprint(settings: ApiSettings) -> str:
    names = [each.name for each in fields(settings) if each.name not in NOT_SHAPING]
    shaping = [(name, getattr(settings, name)) for name in names]
    told = repr((digest_code(), ENCODERS, shaping))
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


@cache
def digest_code() -> str:
    """Of the code that makes the answers: it changes more often than a version's number."""
    digest = hashlib.blake2b(digest_size=8)
    folders = (PROJECT_ROOT / "api", PROJECT_ROOT / "etl" / "contracts")
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
