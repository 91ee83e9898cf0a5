"""How tasks and their results are written into Redis, and what of them can be shown as JSON.

The form is pickle, as arq's own tools expect, but limited to plain data in both directions: a program that can write
into Redis must not be able to run code here.
"""

import io
import json
import pickle
from typing import Any

from pydantic_core import to_jsonable_python

from app.core.trace_context import carried

MAX_TEXT_LENGTH = 2000
CONTEXT = "context"
"""The entry of a task's record that arq does not know: what it carries of the request that submitted it."""
_PLAIN_CLASSES = frozenset(
    {
        ("builtins", "set"),
        ("builtins", "frozenset"),
        ("builtins", "bytearray"),
        ("builtins", "complex"),
        ("datetime", "datetime"),
        ("datetime", "date"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("uuid", "UUID"),
        ("uuid", "SafeUUID"),
    }
)


class _PlainUnpickler(pickle.Unpickler):
    """Builds values of the listed classes and of Python's literals, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN_CLASSES:
            raise pickle.UnpicklingError(f"{module}.{name} is not plain data")
        return super().find_class(module, name)


def loads(packed: bytes) -> dict[str, Any]:
    """What `dumps` wrote; raises for anything that is not plain data."""
    unpacked: dict[str, Any] = _PlainUnpickler(io.BytesIO(packed)).load()
    return unpacked


def dumps(entry: dict[str, Any]) -> bytes:
    """arq's record of a task or of a result.

    Arguments that are not plain data are refused here, where they are enqueued; in a result, which comes from work that
    is already done, what is not plain data becomes its text.
    """
    if "r" in entry:
        entry = entry | {
            "a": tuple(_plain(value) for value in entry["a"]),
            "k": {str(name): _plain(value) for name, value in entry["k"].items()},
            "r": _plain(entry["r"]),
        }
    packed = pickle.dumps(entry)
    loads(packed)
    return packed


def dumps_with_context(entry: dict[str, Any]) -> bytes:
    """arq's record of a task that is submitted now, with what it carries of the current request."""
    return dumps(entry | {CONTEXT: carried()})


def _plain(value: object) -> object:
    if isinstance(value, BaseException):
        return describe(value)
    try:
        packed = pickle.dumps(value)
        loads(packed)
    except Exception:  # noqa: BLE001 - the value's class may raise whatever it likes
        return _text(value)
    return value


def _text(value: object) -> str:
    try:
        return str(value)[:MAX_TEXT_LENGTH]
    except Exception:  # noqa: BLE001 - the value's class may raise whatever it likes
        return f"<{type(value).__name__}>"


def describe(error: BaseException) -> str:
    """`ErrorType: message`, without a traceback."""
    name, text = type(error).__name__, _text(error)
    return f"{name}: {text}" if text else name


def jsonable(value: object) -> Any:
    """The value as JSON can show it; never raises."""
    try:
        plain = to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="strings", fallback=_text)
        # A lone surrogate has no UTF-8.
        return json.loads(json.dumps(plain, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, TypeError, RecursionError):
        return _text(value).encode(errors="replace").decode()
