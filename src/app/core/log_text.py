"""Log lines as text: one per message, without characters that forge another line or control a terminal."""

import logging
from types import TracebackType

MAX_MESSAGE_CHARACTERS = 8_000
_UNPRINTABLE = (*range(32), *range(127, 160), 0x2028, 0x2029)
_ESCAPES = {number: repr(chr(number))[1:-1] for number in _UNPRINTABLE}
_ESCAPES_IN_TRACEBACKS = {number: escape for number, escape in _ESCAPES.items() if chr(number) not in "\n\t"}

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def cut(text: str) -> str:
    """At most `MAX_MESSAGE_CHARACTERS`, and how many are left out."""
    more = len(text) - MAX_MESSAGE_CHARACTERS
    return text if more <= 0 else f"{text[:MAX_MESSAGE_CHARACTERS]}... ({more} more characters)"


def _escaped(text: str, escapes: dict[int, str]) -> str:
    return text.translate(escapes).encode(errors="backslashreplace").decode()


class TextFormatter(logging.Formatter):
    """Escapes line breaks and control characters of a message; only a traceback has several lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = _escaped(cut(record.message), _ESCAPES)
        return super().formatMessage(record)

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802 - logging's name
        text = super().formatException(ei)
        # The end of a traceback has the error, which is more important than its beginning.
        return _escaped(text[-MAX_MESSAGE_CHARACTERS:], _ESCAPES_IN_TRACEBACKS)
