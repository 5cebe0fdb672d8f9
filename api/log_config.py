"""The logging of a server process: the service's lines, the server's own and those of libraries."""

from collections.abc import Mapping
from typing import Any

from api.edge.request_ids import CURRENT
from api.settings import ApiSettings

TEXT = "%(levelname)s %(message)s"


def tell_request() -> Mapping[str, str]:
    """The request that the running task answers, if it is known who asks too."""
    state = CURRENT.get()
    if "request_id" not in state:
        return {}
    told = {"request_id": state["request_id"].decode()}
    caller = state.get("caller")
    return told if caller is None or caller.kind == "address" else {**told, "user": caller.name}


def build_log_config(settings: ApiSettings) -> dict[str, Any]:
    """For logging.config.dictConfig, in each worker: one handler, to standard error."""
    lines = {
        "()": "etl.log_lines.build_lines",
        "form": settings.log_format,
        "text": TEXT,
        "facts": tell_request,
    }
    handler = {
        "class": "logging.StreamHandler",
        "formatter": "lines",
        "stream": "ext://sys.stderr",
    }
    servers = {"level": settings.log_level, "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": lines},
        "handlers": {"lines": handler},
        "root": {"level": settings.log_level, "handlers": ["lines"]},
        "loggers": {"uvicorn": servers, "uvicorn.error": servers},
    }
