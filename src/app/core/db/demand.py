"""How many connections to PostgreSQL a process can have open. Standard library only: `dev/kubernetes` uses it too."""

LEASE_POOL_SIZE = 1
LEASE_MAX_OVERFLOW = 1
"""The cache's epoch has connections that requests cannot use (`app.core.cache.epoch`)."""


def connections_per_process(pool_size: int, max_overflow: int, *, has_cache: bool = True) -> int:
    """The most that a web process or a worker opens: its pool, and two connections for the cache."""
    return pool_size + max_overflow + (LEASE_POOL_SIZE + LEASE_MAX_OVERFLOW if has_cache else 0)
