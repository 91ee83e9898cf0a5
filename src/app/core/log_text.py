"""Log lines as text: one per message, without characters that forge another line or control a terminal."""

import logging
from abc import abstractmethod
from types import TracebackType

from app.core.trace_context import NO_REQUEST, request_id

MAX_MESSAGE_CHARACTERS = 8_000
_UNPRINTABLE = (*range(32), *range(127, 160), 0x2028, 0x2029)
_ESCAPES = {number: repr(chr(number))[1:-1] for number in _UNPRINTABLE}
_ESCAPES_IN_TRACEBACKS = {number: escape for number, escape in _ESCAPES.items() if chr(number) not in "\n\t"}
_COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
NO_COLOUR = "\x1b[0m"

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Lines(logging.LogRecord):
    """Several lines in one record, which write themselves."""

    @abstractmethod
    def as_json(self) -> str: ...

    @abstractmethod
    def as_text(self, *, coloured: bool) -> str: ...


def cut(text: str) -> str:
    """At most `MAX_MESSAGE_CHARACTERS`, and how many are left out."""
    more = len(text) - MAX_MESSAGE_CHARACTERS
    return text if more <= 0 else f"{text[:MAX_MESSAGE_CHARACTERS]}... ({more} more characters)"


def _escaped(text: str, escapes: dict[int, str]) -> str:
    return text.translate(escapes).encode(errors="backslashreplace").decode()


class TextFormatter(logging.Formatter):
    """Escapes line breaks and control characters of a message; only a traceback has several lines."""

    def __init__(self, fmt: str, datefmt: str | None = "%Y-%m-%d %H:%M:%S", *, coloured: bool = False) -> None:
        super().__init__(fmt, datefmt)
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        return record.as_text(coloured=self._coloured) if isinstance(record, Lines) else super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _escaped(cut(record.message), _ESCAPES)
        line = super().formatMessage(record)
        if (name := request_id.get()) != NO_REQUEST:
            line = f"{line} [{name}]"
        colour = _COLOURS.get(record.levelname) if self._coloured else None
        return f"{colour}{line}{NO_COLOUR}" if colour else line

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802 - logging's name
        text = super().formatException(ei)
        # The end of a traceback has the error, which is more important than its beginning.
        return _escaped(text[-MAX_MESSAGE_CHARACTERS:], _ESCAPES_IN_TRACEBACKS)
