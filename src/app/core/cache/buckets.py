"""Where families are: one server has one bucket, without a name; in a Cluster each family is in one of several.

All keys of a bucket begin with its hash tag, so that they share a slot and one script may use them. Everything that a
script compares is in the entry's bucket: its generations, that of the whole cache included, and the announcements.
So what means all families is done in each bucket.
"""

from zlib import crc32

from app.core.cache.keys import family_of
from app.core.redis import Connection

CLUSTER_BUCKETS = 32


class Buckets:
    """The beginnings of all keys of a connection."""

    def __init__(self, connection: Connection) -> None:
        tags = (connection.tag(f"cache-{number}") for number in range(CLUSTER_BUCKETS))
        self.is_cluster = connection.tag("") != ""
        self.all: tuple[str, ...] = tuple(tags) if self.is_cluster else ("",)

    def of(self, key: str | None) -> tuple[str, ...]:
        """Those of a key's family, or of a scope's; None or an empty one is in all."""
        return (self.one(key),) if key else self.all

    def one(self, key: str) -> str:
        """That of a key's family."""
        return self.all[crc32(family_of(key).encode()) % len(self.all)] if self.is_cluster else ""
