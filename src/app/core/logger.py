"""Where log lines go: standard error, and `app/logs/app.log` where that can be written."""

import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from app.core.config import AppSettings
from app.core.log_formats import TEXT_FORMAT, JSONFormatter, text_formatter
from app.core.log_text import TextFormatter
from app.core.trace_context import request_id

__all__ = ["JSONFormatter", "configure_logging", "request_id"]

LOG_FILE = Path(__file__).resolve().parents[1] / "logs" / "app.log"
MAX_LOG_FILE_BYTES = 10 * 1024 * 1024
KEPT_LOG_FILES = 5
SERVER_LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.error", "gunicorn.error", "gunicorn.access", "arq")


def _can_write_logs() -> bool:
    # Rotation needs the folder, too. A container may see the log files of the developer, but not write to them.
    return os.access(LOG_FILE.parent, os.W_OK) and (not LOG_FILE.exists() or os.access(LOG_FILE, os.W_OK))


def _open_log_file(formatter: logging.Formatter) -> logging.Handler | None:
    try:
        LOG_FILE.parent.mkdir(exist_ok=True)
        if not _can_write_logs():
            return None
        handler = RotatingFileHandler(
            LOG_FILE, maxBytes=MAX_LOG_FILE_BYTES, backupCount=KEPT_LOG_FILES, encoding="utf-8", delay=True
        )
    except OSError:
        return None
    handler.setFormatter(formatter)
    return handler


def _handlers_of_servers() -> list[logging.Handler]:
    return [handler for name in SERVER_LOGGERS for handler in logging.getLogger(name).handlers]


def _write_json_everywhere() -> None:
    """Every line of the process is JSON: those of other libraries, of the server, and Python's warnings too."""
    logging.captureWarnings(True)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
    for name in SERVER_LOGGERS:
        logger = logging.getLogger(name)
        logger.propagate = logger.propagate and not logger.handlers  # else the root logger repeats the line
    for handler in (*root.handlers, *_handlers_of_servers()):
        handler.setFormatter(JSONFormatter())


def _write_text(logger: logging.Logger) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    for each in (handler, *_handlers_of_servers()):
        each.setFormatter(text_formatter())


def configure_logging(settings: AppSettings) -> None:
    """Sets up the `app` logger once per process; the lines of uvicorn, gunicorn and arq get the same form.

    With JSON that is every other logger too.
    """
    logger = logging.getLogger("app")
    logger.setLevel(settings.LOG_LEVEL)
    if logger.handlers:
        return
    is_json = settings.log_format == "json"
    if is_json:
        _write_json_everywhere()
    else:
        _write_text(logger)
    if file := _open_log_file(JSONFormatter() if is_json else TextFormatter(TEXT_FORMAT)):
        logger.addHandler(file)
