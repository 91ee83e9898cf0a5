"""Counts calls of Python functions, as a measure of work that is the same on every machine."""

import dis
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType, FrameType

_STANDARD_LIBRARY = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
_PACKAGES = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib"))
_RESUME = dis.opmap["RESUME"]


@cache
def _is_counted(code: CodeType) -> bool:
    """The standard library and comprehensions (inlined since Python 3.12) differ from version to version."""
    file = code.co_filename
    is_standard = file.startswith(("<", *_STANDARD_LIBRARY)) and not file.startswith(_PACKAGES)
    return not is_standard and not code.co_name.startswith("<")


@cache
def _first_instruction(code: CodeType) -> int:
    """Where a call begins; a coroutine that goes on after an `await` is at a later RESUME."""
    return next(item.offset for item in dis.get_instructions(code) if item.opcode == _RESUME)


@contextmanager
def counted_calls() -> Iterator[Counter[CodeType]]:
    """Calls in this thread, by function. Functions written in C and resumed coroutines are not counted."""
    calls: Counter[CodeType] = Counter()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and _is_counted(frame.f_code) and frame.f_lasti <= _first_instruction(frame.f_code):
            calls[frame.f_code] += 1

    former = sys.getprofile()
    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(former)
