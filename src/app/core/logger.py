"""Where log lines go: standard error, and `app/logs/app.log` where that can be written."""

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from app.core.config import AppSettings
from app.core.log_formats import TEXT_FORMAT, JSONFormatter, request_id
from app.core.log_text import TextFormatter

__all__ = ["JSONFormatter", "configure_logging", "request_id"]

LOG_FILE = Path(__file__).resolve().parents[1] / "logs" / "app.log"
MAX_LOG_FILE_BYTES = 10 * 1024 * 1024
KEPT_LOG_FILES = 5
SERVER_LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.error", "gunicorn.error", "gunicorn.access", "arq")


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


def _write_json_everywhere() -> None:
    """Every line of the process is JSON: those of other libraries, of the server, and Python's warnings too."""
    logging.captureWarnings(True)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
    for name in SERVER_LOGGERS:
        logger = logging.getLogger(name)
        logger.propagate = logger.propagate and not logger.handlers  # else the root logger repeats the line
    for logger in (root, *map(logging.getLogger, SERVER_LOGGERS)):
        for handler in logger.handlers:
            handler.setFormatter(JSONFormatter())


def configure_logging(settings: AppSettings) -> None:
    """Sets up the `app` logger once per process; with LOG_FORMAT=json every other logger writes JSON too."""
    logger = logging.getLogger("app")
    logger.setLevel(settings.LOG_LEVEL)
    if logger.handlers:
        return
    is_json = settings.LOG_FORMAT == "json"
    if is_json:
        _write_json_everywhere()
    formatter = JSONFormatter() if is_json else TextFormatter(TEXT_FORMAT)
    for handler in (None if is_json else logging.StreamHandler(sys.stderr), _open_log_file()):
        if handler is not None:
            handler.setFormatter(formatter)
            handler.addFilter(_name_request)
            logger.addHandler(handler)
