"""What `breakpoint()` does in a program that has no terminal."""

import sys
from pathlib import Path


def explain(*_: object, **__: object) -> None:
    """Prints how to debug this line and goes on; `make run` sets it as PYTHONBREAKPOINT."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to find the caller
    where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    text = f"run: breakpoint() at {where} is skipped, because this program has no terminal. Stop the run and start"
    print(f"{text} `make debug` (or `make debug PROGRAM=worker` for a task).", file=sys.stderr, flush=True)
