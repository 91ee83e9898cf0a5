"""Spares callers the wait for a service that has just failed to answer."""

import time

RETRY_SECONDS = 1.0
FAILURES_TO_OPEN = 2


class CircuitBreaker:
    """Closed until several calls in a row fail; then open, but for one trial call every `RETRY_SECONDS`.

    So an outage costs its time-out a few times and not with every request, and its end is noticed within a second.
    """

    def __init__(self, failures_to_open: int = FAILURES_TO_OPEN, retry_seconds: float = RETRY_SECONDS) -> None:
        self._failures_to_open = failures_to_open
        self._retry_seconds = retry_seconds
        self._failures = 0
        self._next_trial = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._failures_to_open

    def allows_call(self) -> bool:
        """Whether to call now. While open, True makes the caller the one that tries."""
        if not self.is_open:
            return True
        now = time.monotonic()
        if now < self._next_trial:
            return False
        self._next_trial = now + self._retry_seconds
        return True

    def record_failure(self) -> None:
        self._failures += 1
        self._next_trial = time.monotonic() + self._retry_seconds

    def record_success(self) -> None:
        self._failures = 0
