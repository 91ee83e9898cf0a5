"""A task in the queue: one atomic submission, plain data only."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from arq import ArqRedis
from arq.connections import RedisSettings
from arq.constants import default_queue_name, job_key_prefix, result_key_prefix
from arq.jobs import Job, serialize_job
from arq.utils import timestamp_ms, to_ms, to_unix_ms
from redis.asyncio import BlockingConnectionPool

from app.core.config import RedisQueueSettings
from app.core.queue.codec import dumps, dumps_with_context, loads
from app.core.queue.replicas import Replicas
from app.core.redis import Argument, RedisConnection
from app.core.settings.redis_url import parse_redis_url

TIMEOUT_SECONDS = 1.0
KEPT_UNTIL_RUN_MS = 10 * 365 * 24 * 3600 * 1000
"""arq deletes a waiting task after a day; ours waits for a worker without a limit."""
_PROBE_KEY = "queue:probe"

_ENQUEUE = """
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[4])
return 1
"""


class PackedTask(NamedTuple):
    """A task as Redis stores it; when it is due (milliseconds since 1970), and for how long it may wait."""

    job_id: str
    packed: bytes
    due: int
    lifetime: int


def _due(now: int, until: datetime | None, by: float | timedelta | None) -> int:
    if until and by:
        raise ValueError("use _defer_until or _defer_by, not both")
    return to_unix_ms(until) if until else now + (to_ms(by) or 0)


class JobQueue(ArqRedis):
    """arq's queue with its data restricted to plain values, and with a submission that is one atomic script."""

    def __init__(self, connections: BlockingConnectionPool) -> None:
        super().__init__(pool_or_conn=connections, job_serializer=dumps, job_deserializer=loads)

    async def enqueue_job(
        self,
        function: str,
        *args: Any,
        _job_id: str | None = None,
        _queue_name: str | None = None,
        _defer_until: datetime | None = None,
        _defer_by: float | timedelta | None = None,
        _expires: float | timedelta | None = None,
        _job_try: int | None = None,
        **kwargs: Any,
    ) -> Job | None:
        """Submits a task; call it after the commit that the task relies on.

        Returns None only if `_job_id` is given and a task with it waits, runs, or has a result. An error other than
        `SerializationError` leaves open whether the task was stored: to try again safely, give it a `_job_id`.
        """
        queue_name = _queue_name or self.default_queue_name
        task = self.pack(
            function, args, kwargs, job_id=_job_id, until=_defer_until, by=_defer_by, expires=_expires, job_try=_job_try
        )
        is_new = await self.submit(task, queue_name)
        # Sent a second time after a broken connection the script finds its own entry: a fresh id is never taken.
        if not is_new and _job_id:
            return None
        return Job(task.job_id, redis=self, _queue_name=queue_name, _deserializer=self.job_deserializer)

    def pack(
        self,
        function: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        job_id: str | None = None,
        until: datetime | None = None,
        by: float | timedelta | None = None,
        expires: float | timedelta | None = None,
        job_try: int | None = None,
    ) -> PackedTask:
        """Raises arq's `SerializationError` if an argument is not plain data."""
        now = timestamp_ms()
        due = _due(now, until, by)
        packed = serialize_job(function, args, kwargs, job_try, now, serializer=dumps_with_context)
        return PackedTask(job_id or uuid4().hex, packed, due, to_ms(expires) or due - now + KEPT_UNTIL_RUN_MS)

    async def submit(self, task: PackedTask, queue_name: str = default_queue_name) -> bool:
        """False if a task with this id waits, runs, or has a result."""
        keys = job_key_prefix + task.job_id, result_key_prefix + task.job_id, queue_name
        return await self._submit(keys, (task.packed, task.lifetime, task.due, task.job_id))

    async def _submit(self, keys: Sequence[str], arguments: Sequence[Argument]) -> bool:
        command: Callable[..., Awaitable[int]] = self.execute_command
        return bool(await command("EVAL", _ENQUEUE, len(keys), *keys, *arguments))


class PipelinedJobQueue(JobQueue):
    """Submits on the process's pipelining connection, in one round trip; reads as `JobQueue` does.

    With `replicas` they must have the task too: otherwise `TooFewReplicasError` is raised, and it may run nevertheless.
    """

    def __init__(
        self, connections: BlockingConnectionPool, connection: RedisConnection, replicas: Replicas | None = None
    ) -> None:
        super().__init__(connections)
        self.pipelined = connection
        self._enqueue = connection.script(_ENQUEUE)
        self._replicas = replicas

    async def _submit(self, keys: Sequence[str], arguments: Sequence[Argument]) -> bool:
        if self._replicas:
            return await self._replicas.confirm(lambda: self._enqueue(keys, arguments))
        return bool(await self._enqueue(keys, arguments))

    async def ping(self, **kwargs: Any) -> bool:
        """True if Redis can be reached and accepts tasks; otherwise raises the error with the reason."""
        if self._replicas:
            return await self._replicas.confirm(self._probe)
        return bool(await self._probe())

    async def _probe(self) -> Any:
        return await self.pipelined.execute("SET", _PROBE_KEY, "1", "EX", 60)


def redis_settings(settings: RedisQueueSettings) -> RedisSettings:
    """How `arq --check` reaches the queue's Redis, in arq's terms."""
    address = parse_redis_url(settings.REDIS_QUEUE_URL)
    return RedisSettings(
        host=list(address.sentinels) or address.host,
        port=address.port,
        unix_socket_path=address.path or None,
        username=address.user or None,
        password=address.password or None,
        database=address.database,
        ssl=address.tls,
        ssl_check_hostname=address.tls,
        sentinel=bool(address.sentinels),
        sentinel_master=address.service,
        conn_retries=1,
    )
