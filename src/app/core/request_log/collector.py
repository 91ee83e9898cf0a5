"""Collects what is to be logged about requests, and writes it outside of them.

A request only appends a tuple. The lines are written together, at the latest `WRITE_SECONDS` after the first of them or
when `MAX_ENTRIES` wait, when the application stops, and when the process exits. Only a killed process (`kill -9`) loses
the lines of its last `WRITE_SECONDS`.
"""

import asyncio
import atexit
import logging
from collections.abc import Callable
from typing import Self

from app.core.config import TelemetrySettings
from app.core.request_log.lines import LOGGER, Entry, RequestLines, kind_of
from app.core.settings.base import SettingsBase
from app.core.trace_context import trace_id

WRITE_SECONDS = 0.25
MAX_ENTRIES = 1000


def _no_trace() -> str | None:
    return None


class RequestLog:
    """The requests of one application; `trace_id` returns the current trace, where there are traces."""

    def __init__(self, trace_id: Callable[[], str | None] = _no_trace) -> None:
        self.trace_id = trace_id
        self._logger = logging.getLogger(LOGGER)
        self._waiting: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Called within the request."""
        waiting = self._waiting
        if not waiting:
            asyncio.get_running_loop().call_later(WRITE_SECONDS, self.write)
        waiting.append(entry)
        if len(waiting) >= MAX_ENTRIES:
            self.write()

    def write(self) -> None:
        """Writes what was added so far."""
        entries, self._waiting = self._waiting, []
        kinds = map(kind_of, entries)
        shown = [each for each in zip(entries, kinds, strict=True) if self._logger.isEnabledFor(each[1].level)]
        if shown:
            self._logger.handle(RequestLines(shown))

    def __enter__(self) -> Self:
        # The servers' own lines about requests would repeat these.
        for name in ("uvicorn.access", "gunicorn.access"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = False
        atexit.register(self.write)
        return self

    def __exit__(self, *_: object) -> None:
        self.write()
        atexit.unregister(self.write)


def create_request_log(settings: SettingsBase, *, has_traces: bool) -> RequestLog | None:
    """None where the settings switch it off; `has_traces` says whether a line may have the id of a trace."""
    if not isinstance(settings, TelemetrySettings) or not settings.LOG_REQUESTS:
        return None
    return RequestLog(trace_id) if has_traces else RequestLog()
