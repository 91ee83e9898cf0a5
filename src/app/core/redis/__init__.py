"""Connections to Redis: one pipelining connection per server and process for everything that a request waits for.

- `RedisConnection` sends the commands of concurrent requests together and reads their replies together, in order. It
  connects on first use, logs in, selects its database, and connects again after a loss.
- A command fails within the connection's timeout. Only the server's silence counts towards it: time in which this
  process's own event loop was blocked does not, so congestion in the process is never taken for an outage.
- A command whose connection is lost is sent once more, on a new connection: the server may run it twice.
- `CircuitBreaker` is part of each connection. A lost connection that cannot be replaced, or silence, opens it: commands
  then fail at once with `RedisUnavailableError`, and a ping in the background closes it within `PROBE_SECONDS` of the
  server's return. Error replies and `RedisBusyError` leave it closed.
- `RedisBusyError` bounds the commands and bytes that wait for one server.

- With Sentinels the primary is looked for at each connect (`primary`). A server that was demoted counts as a lost
  connection, and the connection is open again as soon as there is a new primary.

Every error is a `redis.exceptions.RedisError`. `create_pool` makes the connections of redis-py that arq works with.
`open_any_connection` also opens one to a Cluster: the same interface, with redis-py's client behind it (`cluster`).
Not covered: publish/subscribe and blocking commands.
"""

from app.core.redis.breaker import PROBE_SECONDS, CircuitBreaker
from app.core.redis.connection import RedisConnection
from app.core.redis.dial import Argument
from app.core.redis.errors import RedisBusyError, RedisUnavailableError
from app.core.redis.open import open_any_connection, open_client, open_connection
from app.core.redis.pool import TIMEOUT_SECONDS, create_pool
from app.core.redis.script import Connection, RedisScript

__all__ = [
    "PROBE_SECONDS",
    "TIMEOUT_SECONDS",
    "Argument",
    "CircuitBreaker",
    "Connection",
    "RedisBusyError",
    "RedisConnection",
    "RedisScript",
    "RedisUnavailableError",
    "create_pool",
    "open_any_connection",
    "open_client",
    "open_connection",
]
