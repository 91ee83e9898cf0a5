"""An entry as Redis holds it, and when it may still be served.

An entry begins with its stamp: the epoch of its read, and the generations of its family and of the whole cache at that
time. A generation is a random name that Redis keeps for as long as any entry may carry it. Dropping a family deletes
the name, whatever number of entries carry it, and the next fill chooses another one. Names never return, so that a
generation which expired or was evicted takes its entries with it as well.

A pattern that means only a part of a family is appended to the family's generation. Entries of the same generation
carry its length at their time, and have to match none of the patterns appended since.
"""

from dataclasses import dataclass
from hashlib import sha256

from app.core.cache.keys import RESERVED, KeyPattern, family_of
from app.core.redis import Argument

GENERATION_BYTES = 16
ALL = f"{RESERVED}generation"
"""The key of the generation that all entries share."""


def generation_key(family: str | None) -> str:
    return ALL if family is None else f"{RESERVED}generation:{family}"


def lock_key(key: str) -> str:
    return f"{RESERVED}lock:{key}"


def writes_key(epoch: bytes | None, scope: str) -> str:
    """Where writes announce themselves; those of a process that could not learn the epoch bind every epoch."""
    return f"{RESERVED}writes:{epoch.decode() if epoch else '*'}:{scope}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A response as it is sent."""

    body: bytes
    media_type: bytes
    etag: bytes

    @classmethod
    def of(cls, body: bytes, media_type: str) -> "Entry":
        return cls(body, media_type.encode("latin-1"), f'"{sha256(body).hexdigest()[:32]}"'.encode())

    def headers(self, outcome: bytes) -> list[tuple[bytes, bytes]]:
        """The header fields that describe the response itself, in ASGI's form."""
        return [
            (b"content-type", self.media_type),
            (b"content-length", b"%d" % len(self.body)),
            (b"etag", self.etag),
            (b"x-cache", outcome),
        ]

    def pack(self, stamp: bytes) -> bytes:
        return b"%b%b %b\n%b" % (stamp, self.etag, self.media_type, self.body)

    @classmethod
    def unpack(cls, stored: bytes, start: int) -> "Entry":
        """The entry behind the stamp, which ends at `start`."""
        end = stored.index(b"\n", start)
        etag, _, media_type = stored[start:end].partition(b" ")
        return cls(stored[end + 1 :], media_type, etag)


class EntryKey:
    """Where an entry is, and the command that reads it together with its generations."""

    __slots__ = ("bucket", "command", "family_generation", "text")

    def __init__(self, text: str, bucket: str = "", read: tuple[Argument, ...] = ("MGET",)) -> None:
        self.text = text
        self.bucket = bucket
        self.family_generation = bucket + generation_key(family_of(text))
        self.command = (*read, bucket + text, self.family_generation, bucket + ALL)

    @property
    def redis_keys(self) -> tuple[str, str, str, str]:
        """The entry, its lock, and its generations, as the scripts take them."""
        return self.bucket + self.text, self.bucket + lock_key(self.text), self.family_generation, self.bucket + ALL

    def entry(self, epoch: bytes, reply: "list[bytes | None]") -> Entry | None:
        """The entry in the command's reply, if it may be served."""
        stored, family, everything = reply
        if stored is None or family is None or everything is None:
            return None
        current = stamp(epoch, family, everything)
        if stored.startswith(current):
            return Entry.unpack(stored, len(current))
        return self._entry_of_same_generations(epoch, stored, family, everything)

    def _entry_of_same_generations(self, epoch: bytes, stored: bytes, family: bytes, everything: bytes) -> Entry | None:
        carried, _, _ = stored.partition(b"\n")
        of_epoch, of_family, of_everything = carried.split(b" ")
        if of_epoch != epoch or self._was_dropped(of_family, family) or self._was_dropped(of_everything, everything):
            return None
        return Entry.unpack(stored, len(carried) + 1)

    def _was_dropped(self, carried: bytes, generation: bytes) -> bool:
        name, _, length = carried.partition(b".")
        if name != generation[:GENERATION_BYTES]:
            return True
        patterns = generation[int(length) :].decode().split("\n")[1:]
        return any(KeyPattern(glob).matches(self.text) for glob in patterns)


def stamp(epoch: bytes, family: bytes, everything: bytes) -> bytes:
    """The beginning of the entries that are stored now; the scripts write the same."""
    return b"%b %b.%d %b.%d\n" % (
        epoch,
        family[:GENERATION_BYTES],
        len(family),
        everything[:GENERATION_BYTES],
        len(everything),
    )
