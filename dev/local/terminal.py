"""The terminal after a debugger was killed at its prompt."""

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def restored_terminal() -> Iterator[None]:
    """Restores the modes of the terminal, such as the echo, that readline changes while it reads a line."""
    if not sys.stdin.isatty():
        yield
        return
    modes = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, modes)
