"""The lockout of one account for one address after repeated failed logins."""

import asyncio
import logging
import secrets
import time

from redis.exceptions import RedisError

from app.core.config import CryptSettings
from app.core.events import SecurityEvents
from app.core.redis import Argument, Connection, RedisBusyError
from app.core.security import digest

logger = logging.getLogger(__name__)

RESERVATION_SECONDS = 60
"""For how long an attempt counts whose process ended before it was judged."""
MAX_WAIT_SECONDS = 5.0
POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 0.25

# KEYS: the failures and the attempts under way of a pair, both sorted sets of tokens by time in seconds.
_RESERVE = """
local failures, attempts = KEYS[1], KEYS[2]
local maximum, period, token, reservation = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local failed = redis.call('ZCOUNT', failures, now - period, '+inf')
if failed >= maximum then
    local oldest = redis.call('ZREVRANGE', failures, maximum - 1, maximum - 1, 'WITHSCORES')[2]
    return math.max(1, math.ceil(oldest + period - now))
end
redis.call('ZREMRANGEBYSCORE', attempts, '-inf', now - reservation)
if failed + redis.call('ZCARD', attempts) >= maximum then return -1 end
redis.call('ZADD', attempts, now, token)
redis.call('EXPIRE', attempts, reservation)
return 0
"""
_SETTLE = """
local failures, attempts = KEYS[1], KEYS[2]
local maximum, period, token, outcome = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
redis.call('ZREM', attempts, token)
if outcome == 'right' then redis.call('DEL', failures) end
if outcome == 'wrong' then
    local time = redis.call('TIME')
    redis.call('ZADD', failures, time[1] + time[2] / 1000000, token)
    redis.call('ZREMRANGEBYRANK', failures, 0, -maximum - 1)
    redis.call('EXPIRE', failures, period)
end
return 0
"""


class LockedOutError(Exception):
    """The pair may try again after `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"locked out for {seconds} s")
        self.seconds = seconds


class LockoutBusyError(Exception):
    """The attempt cannot be reserved now: too many of the pair, or of this process, are under way."""


class LoginLockout:
    """Counts the failures of the pair (account, address), for all processes, in Redis.

    A pair is locked out while its latest `LOGIN_MAX_FAILURES` failures are within `LOGIN_LOCKOUT_SECONDS`. An attempt
    reserves one of the failures that are left before it is judged, so that simultaneous ones get no more guesses.
    Attempts beyond them wait, because those under way may succeed.

    While Redis fails no pair is locked out: the cost of bcrypt and the bounded queue still limit guessing.
    """

    def __init__(
        self,
        connection: Connection | None,
        settings: CryptSettings,
        address: str,
        events: SecurityEvents | None = None,
    ) -> None:
        self._events = events or SecurityEvents()
        self._connection = connection
        self._maximum = settings.LOGIN_MAX_FAILURES
        self._period = settings.LOGIN_LOCKOUT_SECONDS
        self._address = address

    async def reserve(self, account: str) -> str:
        """The reservation, which `settle` ends.

        Raises `LockedOutError`, and `LockoutBusyError` where the attempts under way take too long.
        """
        token = secrets.token_hex(8)
        deadline, pause = time.monotonic() + MAX_WAIT_SECONDS, POLL_SECONDS
        while (verdict := await self._run(_RESERVE, account, token, RESERVATION_SECONDS)) < 0:
            if time.monotonic() + pause > deadline:
                raise LockoutBusyError("too many attempts of this account and address are under way")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, MAX_POLL_SECONDS)
        if verdict > 0:
            self._events.login("locked_out")
            raise LockedOutError(verdict)
        return token

    async def settle(self, account: str, token: str, matches: bool | None) -> None:
        """Counts a failure, or clears those before a success; None (never judged) only gives the reservation back."""
        if matches is not None:
            self._events.login("success" if matches else "failure")
        outcome = "unknown" if matches is None else "right" if matches else "wrong"
        await self._run(_SETTLE, account, token, outcome)

    async def _run(self, script: str, account: str, *arguments: Argument) -> int:
        if self._connection is None:
            return 0
        pair = self._connection.tag(digest(f"{account}|{self._address}"))
        keys = [f"lockout:failures:{pair}", f"lockout:attempts:{pair}"]
        try:
            return int(await self._connection.script(script)(keys, (self._maximum, self._period, *arguments)))
        except RedisBusyError as error:
            raise LockoutBusyError(str(error)) from error
        except RedisError as error:
            logger.warning("failed logins cannot be counted: %r", error)
            return 0
