"""Ctrl-C and SIGTERM for the local run: recorded at once, handled at the next safe point."""

import os
import signal
import time
from types import FrameType

from dev.local.processes import descendants, send

_SECOND_AFTER_SECONDS = 0.5


class StopRequested(Exception):  # noqa: N818 - not an error
    """The user wants the run to end."""


class RestartRequested(Exception):  # noqa: N818 - not an error
    """The settings have changed: everything has to stop and start again."""


class StopSignals:
    """`requested` is true after the first signal; a second Ctrl-C kills everything at once."""

    def __init__(self) -> None:
        self.requested = False
        self._at = 0.0
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup
        for number in (signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])):
            signal.signal(number, self._note)

    def check(self) -> None:
        """Raises `StopRequested` after a signal."""
        if self.requested:
            raise StopRequested

    def _note(self, number: int, _frame: FrameType | None) -> None:
        # One Ctrl-C may arrive twice: sent to the whole group, and passed on by make.
        if self.requested and number == signal.SIGINT and time.monotonic() > self._at + _SECOND_AFTER_SECONDS:
            send(signal.SIGKILL, descendants(os.getpid()))
            os._exit(1)
        if not self.requested:
            self.requested = True
            self._at = time.monotonic()
