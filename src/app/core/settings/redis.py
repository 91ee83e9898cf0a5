"""The settings of the cache's Redis, of the queue's, and of the rate limiter's."""

from pydantic import PositiveFloat, PositiveInt
from sqlalchemy.engine import URL

from app.core.settings.base import SettingsBase
from app.core.settings.values import Period, Port, RedisDatabase, Seconds, Secret


def redis_url(host: str, port: int, password: str, database: int, tls: bool) -> str:
    """The address in the form that redis-py and arq read, any character of the password quoted."""
    url = URL.create("rediss" if tls else "redis", "", password or None, host, port, str(database))
    return url.render_as_string(hide_password=False)


class RedisCacheSettings(SettingsBase):
    """Where responses are cached."""

    REDIS_CACHE_HOST: str = "localhost"
    REDIS_CACHE_PORT: Port = 6379
    REDIS_CACHE_PASSWORD: Secret = ""
    REDIS_CACHE_DB: RedisDatabase = 0
    REDIS_CACHE_SSL: bool = False

    @property
    def REDIS_CACHE_URL(self) -> str:
        return redis_url(
            self.REDIS_CACHE_HOST,
            self.REDIS_CACHE_PORT,
            self.REDIS_CACHE_PASSWORD,
            self.REDIS_CACHE_DB,
            self.REDIS_CACHE_SSL,
        )


class RedisQueueSettings(SettingsBase):
    """Where tasks wait for a worker, and how they are run (times in seconds)."""

    REDIS_QUEUE_HOST: str = "localhost"
    REDIS_QUEUE_PORT: Port = 6379
    REDIS_QUEUE_PASSWORD: Secret = ""
    REDIS_QUEUE_DB: RedisDatabase = 0
    REDIS_QUEUE_SSL: bool = False
    REDIS_QUEUE_WAIT_SECONDS: Seconds = 60
    TASK_MAX_TRIES: PositiveInt = 5
    TASK_TIMEOUT_SECONDS: Period = 30
    TASK_RETRY_DELAY_SECONDS: PositiveFloat = 1.0
    TASK_RESULT_TTL_SECONDS: Period = 3600

    @property
    def REDIS_QUEUE_URL(self) -> str:
        return redis_url(
            self.REDIS_QUEUE_HOST,
            self.REDIS_QUEUE_PORT,
            self.REDIS_QUEUE_PASSWORD,
            self.REDIS_QUEUE_DB,
            self.REDIS_QUEUE_SSL,
        )


class RedisRateLimiterSettings(SettingsBase):
    """Where admissions are counted, and what happens while that Redis is unavailable."""

    REDIS_RATE_LIMIT_HOST: str = "localhost"
    REDIS_RATE_LIMIT_PORT: Port = 6379
    REDIS_RATE_LIMIT_PASSWORD: Secret = ""
    REDIS_RATE_LIMIT_DB: RedisDatabase = 0
    REDIS_RATE_LIMIT_SSL: bool = False
    RATE_LIMIT_FAIL_OPEN: bool = True

    @property
    def REDIS_RATE_LIMIT_URL(self) -> str:
        return redis_url(
            self.REDIS_RATE_LIMIT_HOST,
            self.REDIS_RATE_LIMIT_PORT,
            self.REDIS_RATE_LIMIT_PASSWORD,
            self.REDIS_RATE_LIMIT_DB,
            self.REDIS_RATE_LIMIT_SSL,
        )
