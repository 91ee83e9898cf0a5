"""What a write invalidates, in the terms in which Redis holds it."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.core.cache.keys import KeyPattern


@dataclass(frozen=True, slots=True)
class Targets:
    """Single keys, whole families, and globs that match a part of a family (None: of any family)."""

    keys: frozenset[str]
    families: frozenset[str]
    globs: frozenset[tuple[str | None, str]]
    scopes: frozenset[str]
    """Where the write announces itself."""

    @classmethod
    def of(cls, keys: Iterable[str], patterns: Iterable[KeyPattern] = ()) -> "Targets":
        """Sorts the patterns by what dropping them takes."""
        single, families, globs = set(keys), set(), set()
        scopes = set(single)
        for pattern in patterns:
            if family := pattern.whole_family:
                families.add(family)
                scopes.add(family)
            elif pattern.is_exact:
                single.add(pattern.glob)
                scopes.add(pattern.glob)
            else:
                globs.add((pattern.family, pattern.glob))
                scopes.add(pattern.scope)
        return cls(frozenset(single), frozenset(families), frozenset(globs), frozenset(scopes))
