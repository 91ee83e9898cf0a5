"""gunicorn's own log lines in the format of LOG_FORMAT."""

from typing import Any

from gunicorn.glogging import Logger

from app.core.log_formats import JSONFormatter, is_json


class ServerLogger(Logger):  # type: ignore[misc] # gunicorn is untyped
    """gunicorn's logger; the worker gives its handlers to uvicorn, so uvicorn's lines follow."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        if is_json():
            for handler in (*self.error_log.handlers, *self.access_log.handlers):
                handler.setFormatter(JSONFormatter())
