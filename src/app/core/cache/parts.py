"""A write, divided into what one script does in one bucket."""

from collections.abc import Sequence

from app.core.cache.buckets import Buckets
from app.core.cache.entries import generation_key, lock_key, writes_key
from app.core.cache.targets import Targets


class WritePart:
    """What a write does in one bucket."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.dropped: list[str] = []
        self.scopes: list[str] = []
        self.globs: list[tuple[str, str]] = []

    def keys(self, announcements: Sequence[tuple[bytes | None, str]]) -> tuple[list[str], list[int]]:
        """The keys of the script, and the numbers of its first two kinds."""
        announced = [writes_key(epoch, scope) for epoch, scope in announcements if scope in self.scopes]
        keys = [*self.dropped, *announced, *(generation for generation, _ in self.globs)]
        return [self.bucket + key for key in keys], [len(self.dropped), len(announced)]


def write_parts(targets: Targets, buckets: Buckets) -> list[WritePart]:
    """One on a single server."""
    parts = {bucket: WritePart(bucket) for bucket in buckets.all}
    for key in targets.keys:
        parts[buckets.one(key)].dropped += [key, lock_key(key)]
    for family in targets.families:
        parts[buckets.one(family)].dropped.append(generation_key(family))
    for glob_family, glob in targets.globs:
        for bucket in buckets.of(glob_family):
            parts[bucket].globs.append((generation_key(glob_family), glob))
    for scope in sorted(targets.scopes):
        for bucket in buckets.of(scope):
            parts[bucket].scopes.append(scope)
    return [part for part in parts.values() if part.scopes]
