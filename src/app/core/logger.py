"""Where log lines go: standard error, and `app/logs/app.log` where that can be written."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from app.core.config import AppSettings

LOG_FILE = Path(__file__).resolve().parents[1] / "logs" / "app.log"
MAX_LOG_FILE_BYTES = 10 * 1024 * 1024
KEPT_LOG_FILES = 5
TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(name)s [%(request_id)s]: %(message)s"

request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The request that is being answered; `-` outside of one."""


class JSONFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _name_request(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True


def _open_log_file() -> logging.Handler | None:
    try:
        LOG_FILE.parent.mkdir(exist_ok=True)
        return RotatingFileHandler(
            LOG_FILE, maxBytes=MAX_LOG_FILE_BYTES, backupCount=KEPT_LOG_FILES, encoding="utf-8", delay=True
        )
    except OSError:
        return None


def configure_logging(settings: AppSettings) -> None:
    """Sets up the `app` logger once a process; the root logger and the server's own stay as they are."""
    logger = logging.getLogger("app")
    logger.setLevel(settings.LOG_LEVEL)
    if logger.handlers:
        return
    formatter = JSONFormatter() if settings.LOG_FORMAT == "json" else logging.Formatter(TEXT_FORMAT)
    for handler in (logging.StreamHandler(sys.stderr), _open_log_file()):
        if handler is not None:
            handler.setFormatter(formatter)
            handler.addFilter(_name_request)
            logger.addHandler(handler)
