"""gunicorn's own log lines in the format of LOG_FORMAT."""

from typing import Any

from gunicorn.glogging import Logger

from app.core.log_formats import line_formatter


class ServerLogger(Logger):  # type: ignore[misc] # gunicorn is untyped
    """gunicorn's logger; the worker gives its handlers to uvicorn, so uvicorn's lines follow."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(line_formatter())
