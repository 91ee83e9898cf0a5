"""The settings of each Redis. A URL wins over the parts of one."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from app.core.settings.base import SettingsBase
from app.core.settings.redis_url import ClusterUrl, RedisUrl, redis_url
from app.core.settings.values import Period, Port, RedisDatabase, Seconds, Secret

ReplicaTimeout = Annotated[float, Field(gt=0, le=0.8)]
"""Less than the second after which a server that is silent counts as unavailable."""
PARTS = ("HOST", "PORT", "PASSWORD", "DB", "SSL")


def _url_of(server: str) -> Any:
    """The default of the server's URL: made of its host, port, password, database and TLS."""

    def make(values: Mapping[str, Any]) -> str:
        host, port, password, database, tls = (values[f"{server}_{part}"] for part in PARTS)
        return redis_url(host, port, password, database, tls)

    return Field(default_factory=make)


class RedisCacheSettings(SettingsBase):
    """Where responses are cached."""

    REDIS_CACHE_HOST: str = "localhost"
    REDIS_CACHE_PORT: Port = 6379
    REDIS_CACHE_PASSWORD: Secret = ""
    REDIS_CACHE_DB: RedisDatabase = 0
    REDIS_CACHE_SSL: bool = False
    REDIS_CACHE_URL: ClusterUrl = _url_of("REDIS_CACHE")


class RedisQueueSettings(SettingsBase):
    """Where tasks wait for a worker, and how they are run (times in seconds)."""

    REDIS_QUEUE_HOST: str = "localhost"
    REDIS_QUEUE_PORT: Port = 6379
    REDIS_QUEUE_PASSWORD: Secret = ""
    REDIS_QUEUE_DB: RedisDatabase = 0
    REDIS_QUEUE_SSL: bool = False
    REDIS_QUEUE_URL: RedisUrl = _url_of("REDIS_QUEUE")
    REDIS_QUEUE_WAIT_SECONDS: Seconds = 60
    REDIS_QUEUE_WAIT_REPLICAS: NonNegativeInt = 0
    REDIS_QUEUE_WAIT_REPLICAS_SECONDS: ReplicaTimeout = 0.5
    TASK_MAX_TRIES: PositiveInt = 5
    TASK_TIMEOUT_SECONDS: Period = 30
    TASK_RETRY_DELAY_SECONDS: PositiveFloat = 1.0
    TASK_RESULT_TTL_SECONDS: Period = 3600


class RedisRateLimiterSettings(SettingsBase):
    """Where admissions are counted, and what happens while that Redis is unavailable."""

    REDIS_RATE_LIMIT_HOST: str = "localhost"
    REDIS_RATE_LIMIT_PORT: Port = 6379
    REDIS_RATE_LIMIT_PASSWORD: Secret = ""
    REDIS_RATE_LIMIT_DB: RedisDatabase = 0
    REDIS_RATE_LIMIT_SSL: bool = False
    REDIS_RATE_LIMIT_URL: ClusterUrl = _url_of("REDIS_RATE_LIMIT")
    RATE_LIMIT_FAIL_OPEN: bool = True
