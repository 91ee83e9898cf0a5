"""The settings, one class per feature.

`Settings` is composed by inheritance: leave a class out to switch its feature off. Nothing of it is opened then.
Every value comes from the environment first and from `src/.env` second. Locally the servers that `make run` has started
for this checkout come third (`.local/servers.env`).
"""

import secrets
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from app.core.settings.base import SettingsBase, load
from app.core.settings.outbox import OutboxSettings
from app.core.settings.postgres import PostgresSettings
from app.core.settings.redis import RedisCacheSettings, RedisQueueSettings, RedisRateLimiterSettings
from app.core.settings.sources import ConfigurationError
from app.core.settings.values import (
    Bytes,
    Hosts,
    HttpAddress,
    LifetimeDays,
    LifetimeMinutes,
    Networks,
    Origins,
    Period,
    Port,
    Requests,
    Seconds,
    Secret,
)

__all__ = [
    "ConfigurationError",
    "OutboxSettings",
    "PostgresSettings",
    "RedisCacheSettings",
    "RedisQueueSettings",
    "RedisRateLimiterSettings",
    "Settings",
    "settings",
]


class EnvironmentOption(StrEnum):
    """Where the application runs. This decides who may see the docs and which settings are refused."""

    LOCAL = "local"
    STAGING = "staging"
    PRODUCTION = "production"


class AppSettings(SettingsBase):
    """The application's description, and the limits of every request."""

    APP_NAME: str = "FastAPI app"
    APP_DESCRIPTION: str | None = None
    APP_VERSION: str = "0.1.0"
    LICENSE_NAME: str | None = None
    CONTACT_NAME: str | None = None
    CONTACT_EMAIL: str | None = None
    CORS_ORIGINS: Origins = ()
    ALLOWED_HOSTS: Hosts = ("*",)
    TRUSTED_PROXIES: Networks = ("127.0.0.1", "::1")
    MAX_REQUEST_BODY_BYTES: Bytes = 1024 * 1024
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    LOG_FORMAT: Literal["text", "json"] | None = None

    @property
    def log_format(self) -> Literal["text", "json"]:
        """LOG_FORMAT, by default text in `local` and JSON elsewhere."""
        is_local = not isinstance(self, EnvironmentSettings) or self.ENVIRONMENT is EnvironmentOption.LOCAL
        return self.LOG_FORMAT or ("text" if is_local else "json")


class CryptSettings(SettingsBase):
    """Tokens, the cookie that carries the refresh token, and the lockout after failed logins."""

    SECRET_KEY: Secret = Field(default_factory=lambda: secrets.token_urlsafe(48))
    ALGORITHM: Literal["HS256", "HS384", "HS512"] = "HS256"
    ACCESS_TOKEN_EXPIRE_MINUTES: LifetimeMinutes = 30
    REFRESH_TOKEN_EXPIRE_DAYS: LifetimeDays = 7
    REFRESH_TOKEN_REUSE_GRACE_SECONDS: Seconds = 5
    REFRESH_TOKEN_COOKIE_SECURE: bool = True
    REFRESH_TOKEN_COOKIE_SAMESITE: Literal["lax", "strict", "none"] = "lax"  # noqa: S105 - not a password
    PASSWORD_HASH_ROUNDS: Annotated[int, Field(ge=4, le=20)] = 12
    LOGIN_MAX_FAILURES: PositiveInt = 5
    LOGIN_LOCKOUT_SECONDS: Period = 300


class FirstUserSettings(SettingsBase):
    """The account and the tier that the scripts create."""

    ADMIN_NAME: str = "Admin"
    ADMIN_EMAIL: str = "admin@example.com"
    ADMIN_USERNAME: str = "admin"
    ADMIN_PASSWORD: Secret = "change-this-password"  # noqa: S105 - the public default, refused outside local
    TIER_NAME: str = "free"


class TestSettings(SettingsBase):
    """The account that your own tests may use."""

    __test__ = False

    TEST_NAME: str = "Tester User"
    TEST_EMAIL: str = "test@tester.com"
    TEST_USERNAME: str = "testeruser"
    TEST_PASSWORD: Secret = "Str1ng$t"  # noqa: S105 - published in the README


class ClientSideCacheSettings(SettingsBase):
    """How long browsers and proxies may keep public responses, in seconds."""

    CLIENT_CACHE_MAX_AGE: Seconds = 60


class DefaultRateLimitSettings(SettingsBase):
    """The tier of new users, the limit of callers without a rule, and those of logins and registrations per address.

    Each limit is a number of requests, and the seconds for which they count. Without `DEFAULT_TIER_NAME`, or while
    there is no such tier, new users have none.
    """

    DEFAULT_TIER_NAME: str | None = None
    DEFAULT_RATE_LIMIT_LIMIT: Requests = 10
    DEFAULT_RATE_LIMIT_PERIOD: Period = 3600
    LOGIN_RATE_LIMIT_LIMIT: Requests = 300
    LOGIN_RATE_LIMIT_PERIOD: Period = 60
    REGISTRATION_RATE_LIMIT_LIMIT: Requests = 300
    REGISTRATION_RATE_LIMIT_PERIOD: Period = 60


class EnvironmentSettings(SettingsBase):
    """Where the application runs."""

    ENVIRONMENT: EnvironmentOption = EnvironmentOption.LOCAL


class TelemetrySettings(SettingsBase):
    """What can be seen of the application from outside. OpenTelemetry's own variables are in docs/observability.md."""

    LOG_REQUESTS: bool = True
    OTEL_EXPORTER_OTLP_ENDPOINT: HttpAddress | None = None
    OTEL_SERVICE_NAME: str | None = None
    PROMETHEUS_PORT: Port | None = None


class Settings(
    AppSettings,
    CryptSettings,
    PostgresSettings,
    FirstUserSettings,
    TestSettings,
    RedisCacheSettings,
    ClientSideCacheSettings,
    RedisQueueSettings,
    OutboxSettings,
    RedisRateLimiterSettings,
    DefaultRateLimitSettings,
    EnvironmentSettings,
    TelemetrySettings,
):
    """All features; remove a base class to switch its feature off."""


settings = load(Settings)
