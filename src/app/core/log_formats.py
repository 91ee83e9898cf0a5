"""How log lines look: text or JSON, for the application and for the servers and the worker that run it.

Nothing here needs the settings to be valid, because gunicorn's main process and uvicorn's reloader use it as well.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from app.core.log_text import Lines, TextFormatter, cut
from app.core.settings.sources import ENV_FILE, read_given
from app.core.trace_context import request_id, trace_id

TEXT_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"


class JSONFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record, Lines):
            return record.as_json()
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": cut(record.getMessage()),
            "request_id": request_id.get(),
        }
        if trace := trace_id():
            entry["trace_id"] = trace
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def is_json() -> bool:
    """Whether LOG_FORMAT is JSON: by default in every environment but `local`."""
    given = read_given(ENV_FILE)
    default = "text" if given.get("ENVIRONMENT", "local") == "local" else "json"
    return given.get("LOG_FORMAT", default) == "json"


def is_coloured() -> bool:
    """Whether standard error is a terminal that wants colours (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def text_formatter() -> TextFormatter:
    """For standard error."""
    return TextFormatter(TEXT_FORMAT, coloured=is_coloured())


def line_formatter() -> logging.Formatter:
    """The format of LOG_FORMAT, for uvicorn (`core/uvicorn_logging.json`), gunicorn and arq (`WORKER_LOGGING`)."""
    return JSONFormatter() if is_json() else text_formatter()


WORKER_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"worker": {"()": line_formatter}},
    "handlers": {"worker": {"class": "logging.StreamHandler", "formatter": "worker"}},
    "loggers": {"arq": {"handlers": ["worker"], "level": "INFO"}},
}
"""For `arq --custom-log-dict app.core.log_formats.WORKER_LOGGING`."""
