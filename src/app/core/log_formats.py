"""How log lines look: text or JSON, for the application and for the servers and the worker that run it.

Nothing here needs the settings to be valid, because gunicorn's main process and uvicorn's reloader use it as well.
"""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from app.core.log_text import cut
from app.core.settings.sources import ENV_FILE, read_given

TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)s [%(request_id)s]: %(message)s"
WORKER_FORMAT = "%(asctime)s: %(message)s"

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The request that is being handled; `-` outside of one."""


class JSONFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": cut(record.getMessage()),
            "request_id": request_id.get(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def is_json() -> bool:
    """Whether LOG_FORMAT is JSON."""
    return read_given(ENV_FILE).get("LOG_FORMAT") == "json"


def uvicorn_formatter() -> logging.Formatter:
    """For `uvicorn --log-config src/app/core/uvicorn_logging.json`: uvicorn's own format, or JSON."""
    from uvicorn.logging import DefaultFormatter  # noqa: PLC0415 - uvicorn calls this; the worker and scripts need none

    return JSONFormatter() if is_json() else DefaultFormatter("%(levelprefix)s %(message)s")


def worker_formatter() -> logging.Formatter:
    """For `WORKER_LOGGING`: arq's own format, or JSON."""
    return JSONFormatter() if is_json() else logging.Formatter(WORKER_FORMAT, "%H:%M:%S")


WORKER_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"worker": {"()": worker_formatter}},
    "handlers": {"worker": {"class": "logging.StreamHandler", "formatter": "worker"}},
    "loggers": {"arq": {"handlers": ["worker"], "level": "INFO"}},
}
"""For `arq --custom-log-dict app.core.log_formats.WORKER_LOGGING`."""
