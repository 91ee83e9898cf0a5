"""What a process holds open while it runs, web application and worker alike."""

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from arq import ArqRedis
from redis.asyncio import Redis
from starlette.applications import Starlette

from app.core.cache.epoch import open_lease
from app.core.cache.store import ResponseCache, open_response_cache
from app.core.config import (
    CryptSettings,
    OutboxSettings,
    PostgresSettings,
    RedisCacheSettings,
    RedisQueueSettings,
    RedisRateLimiterSettings,
)
from app.core.db.budget import check_connections, process_name
from app.core.db.database import Database, open_database
from app.core.events import SecurityEvents
from app.core.features import FeatureDisabledError, read_resources
from app.core.outbox import Outbox, open_outbox
from app.core.passwords import PasswordHasher, open_password_hasher
from app.core.security import VerifiedTokens
from app.core.settings.base import SettingsBase
from app.core.utils.cache import open_cache, open_cache_connection
from app.core.utils.queue import open_queue
from app.core.utils.rate_limit import RateLimiter, open_rate_limiter

AnySettings = TypeVar("AnySettings", bound=SettingsBase)


@dataclass(frozen=True, slots=True)
class Resources:
    """Each part is None when the settings leave its class out; `require` turns None into `FeatureDisabledError`."""

    settings: SettingsBase
    password_hasher: PasswordHasher | None
    database: Database | None
    read_database: Database | None
    cache: Redis | None
    responses: ResponseCache | None
    queue: ArqRedis | None
    outbox: Outbox | None
    rate_limiter: RateLimiter | None
    verified_tokens: VerifiedTokens | None
    events: SecurityEvents = field(default_factory=SecurityEvents)

    def settings_of(self, settings_class: type[AnySettings]) -> AnySettings:
        """The settings as one of their classes; raises `FeatureDisabledError` if they leave it out."""
        if not isinstance(self.settings, settings_class):
            raise FeatureDisabledError(settings_class.__name__)
        return self.settings


def resources_of(app: Starlette) -> Resources:
    """What the application holds open. There is no other way to access it."""
    resources: Resources = read_resources(app)
    return resources


async def _open_database(stack: AsyncExitStack, settings: SettingsBase) -> Database | None:
    if not isinstance(settings, PostgresSettings):
        return None
    database = await stack.enter_async_context(open_database(settings, process_name(settings)))
    await check_connections(database, settings)
    return database


async def _open_read_database(
    stack: AsyncExitStack, settings: SettingsBase, database: Database | None
) -> Database | None:
    """The database itself, unless there is a replica."""
    replica = settings.replica if isinstance(settings, PostgresSettings) else None
    if database is None or replica is None:
        return database
    from app.core.db.read_database import open_read_database  # noqa: PLC0415 - costs nothing without a replica

    return await stack.enter_async_context(open_read_database(database, replica))


async def _open_responses(stack: AsyncExitStack, settings: SettingsBase) -> ResponseCache | None:
    if not isinstance(settings, RedisCacheSettings):
        return None
    lease = await stack.enter_async_context(open_lease(settings))
    connection = await stack.enter_async_context(open_cache_connection(settings))
    limit = settings.DATABASE_STATEMENT_TIMEOUT_SECONDS if isinstance(settings, PostgresSettings) else 20
    return await stack.enter_async_context(open_response_cache(connection, lease, statement_timeout=limit))


@asynccontextmanager
async def open_resources(settings: SettingsBase, tasks: Collection[str] = ()) -> AsyncIterator[Resources]:
    """Opens what the settings switch on, and closes it in reverse order.

    `tasks` are the names of the worker's functions.
    """
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await _open_database(stack, settings)
        cache = await enter(open_cache(settings)) if isinstance(settings, RedisCacheSettings) else None
        queue = await enter(open_queue(settings)) if isinstance(settings, RedisQueueSettings) else None
        outbox = None
        if isinstance(settings, OutboxSettings):
            outbox = await enter(open_outbox(settings, database, queue, tasks))
        yield Resources(
            settings=settings,
            password_hasher=(
                await enter(open_password_hasher(settings)) if isinstance(settings, CryptSettings) else None
            ),
            database=database,
            read_database=await _open_read_database(stack, settings, database),
            cache=cache,
            responses=await _open_responses(stack, settings),
            queue=queue,
            outbox=outbox,
            rate_limiter=(
                await enter(open_rate_limiter(settings)) if isinstance(settings, RedisRateLimiterSettings) else None
            ),
            verified_tokens=VerifiedTokens(settings) if isinstance(settings, CryptSettings) else None,
        )
