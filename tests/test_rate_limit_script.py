"""The limiter's script against a simple model, with a clock that the test sets."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.commands.core import Script

from app.core.limits.script import HISTORY_ENTRIES, HISTORY_SECONDS, admit_script
from tests.conftest import Services
from tests.helper import unique

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
READS_CLOCK = "redis.call('TIME')"
LIVES_FOR = "(newest + kept_period - now) / 1000"
EXTRA_SECONDS = 60
"""Buckets live longer here: Valkey's own clock must not delete what the test's clock still needs."""


@pytest.fixture
def redis(services: Services) -> Iterator[Redis]:
    valkey = services.valkey
    with Redis(host=valkey.host, port=valkey.port, password=valkey.password) as client:
        yield client


@dataclass
class Bucket:
    """One bucket of the real script at the times that the test sets."""

    redis: Redis
    with_history: bool = True
    key: str = field(default_factory=lambda: unique("bucket"))

    def __post_init__(self) -> None:
        script = admit_script() if self.with_history else admit_script(0, 0)
        assert script.count(READS_CLOCK) == script.count(LIVES_FOR) == 1
        script = script.replace(READS_CLOCK, "{ARGV[3], ARGV[4]}")
        script = script.replace(LIVES_FOR, f"{LIVES_FOR} + {EXTRA_SECONDS * 1000}")
        self._script: Script = self.redis.register_script(script)

    def admit(self, now: int, limit: int, period: int) -> list[int]:
        response: bytes = self._script([self.key], [limit, period, now // SECOND, now % SECOND])
        return [int(number) for number in response.split()]


@dataclass
class Model:
    """Every admission ever, and the definition of a sliding window."""

    admissions: list[int] = field(default_factory=list)

    def admit(self, now: int, limit: int, period: int) -> list[int]:
        now = max([now, *self.admissions])
        inside = [time for time in self.admissions if time > now - period * SECOND]
        admitted = len(inside) < limit
        if admitted:
            self.admissions.append(now)
            inside.append(now)
        retry = 0 if admitted else sorted(inside)[-limit] + period * SECOND - now
        return [int(admitted), max(0, limit - len(inside)), max(self.admissions) + period * SECOND - now, retry, 0]


steps = st.one_of(
    st.integers(0, 3),
    st.integers(0, 200 * SECOND),
    st.sampled_from([60 * SECOND, 60 * SECOND - 1, 60 * SECOND + 1]),
    st.integers(-50 * SECOND, -1),
)
rules = st.tuples(st.integers(1, 7), st.integers(50, HISTORY_SECONDS))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(st.tuples(steps, rules), max_size=40))
def test_the_script_is_the_model_whatever_the_rule_becomes(
    redis: Redis, requests: list[tuple[int, tuple[int, int]]]
) -> None:
    """Also with a clock that is set back, and with a rule that changes before every request."""
    bucket, model, now = Bucket(redis), Model(), START
    for step, (limit, period) in requests:
        now += step
        expected = model.admit(now, limit, period)
        assert bucket.admit(now, limit, period) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 12), clock=st.lists(steps, max_size=60))
def test_with_one_rule_no_history_is_needed(redis: Redis, limit: int, clock: list[int]) -> None:
    """The entries that the rule itself needs are enough to be exact."""
    bucket, model, now = Bucket(redis, with_history=False), Model(), START
    for step in clock:
        now += step
        expected = model.admit(now, limit, 60)
        assert bucket.admit(now, limit, 60) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(st.tuples(st.integers(0, 90 * SECOND), rules), min_size=1, max_size=30))
def test_a_request_is_admitted_at_the_reported_time_and_not_one_microsecond_earlier(
    redis: Redis, requests: list[tuple[int, tuple[int, int]]]
) -> None:
    bucket, now = Bucket(redis), START
    for step, (limit, period) in requests:
        now += step
        admitted, _, _, retry, _ = bucket.admit(now, limit, period)
        if not admitted:
            assert bucket.admit(now + retry - 1, limit, period)[0] == 0
            now += retry
            assert bucket.admit(now, limit, period)[0] == 1


@pytest.mark.parametrize(
    ("limit", "period", "entries"),
    [
        pytest.param(10, 1, HISTORY_ENTRIES, id="a small limit"),
        pytest.param(3000, 60, 3000, id="a large limit"),
    ],
)
def test_a_bucket_has_a_largest_size(redis: Redis, limit: int, period: int, entries: int) -> None:
    """It holds as many entries as the limit, at least a thousand, about 10 bytes each."""
    bucket = Bucket(redis)
    for number in range(2 * entries):
        now = START + number * (period * SECOND // limit + 1)
        assert bucket.admit(now, limit, period)[0] == 1

    assert redis.llen(bucket.key) == entries
    questions = redis.pipeline()
    questions.memory_usage(bucket.key, samples=0)
    questions.ttl(bucket.key)
    size, seconds_to_live = questions.execute()
    assert size < entries * 16 + 1024
    assert seconds_to_live <= HISTORY_SECONDS + EXTRA_SECONDS


def test_old_admissions_are_dropped(redis: Redis) -> None:
    """A caller with few requests has a small bucket, although no call drops many entries."""
    bucket = Bucket(redis)
    for number in range(100):
        bucket.admit(START + number * HISTORY_SECONDS * SECOND // 10, 5, 1)

    assert redis.llen(bucket.key) == 10
