"""Owners: what the cached responses of other endpoints show or are named after, such as a user.

An endpoint that caches names the owners of its entries, `owners=[USER]`. An endpoint that changes one drops what all
of them have registered, `changes=[USER.named("username")]`, and does not depend on their keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.cache.keys import KeyPattern, Template


@dataclass(frozen=True, slots=True, eq=False)
class Owner:
    """`placeholder` is its name in keys: `username` for entries such as `{username}_posts:1`.

    Endpoints register when their module is imported, as routes and tables do; nothing changes afterwards.
    """

    placeholder: str
    _patterns: list[str] = field(default_factory=list, init=False)

    def register(self, key: Template) -> None:
        """Entries under the key show this owner. Other placeholders than its own may have any value."""
        pattern = key.with_wildcards(self.placeholder)
        if pattern not in self._patterns:
            self._patterns.append(pattern)

    def patterns(self, path: str) -> list[str]:
        """All that is registered, for the owner that the parameter or attribute `path` names."""
        return [pattern.replace(f"{{{self.placeholder}}}", f"{{{path}}}") for pattern in self._patterns]

    def named(self, path: str) -> "ChangedOwner":
        """The owner whose name is the endpoint's parameter `path`, or an attribute of one: `values.username`."""
        return ChangedOwner(self, path)


class ChangedOwner:
    """One owner that an endpoint changes."""

    def __init__(self, owner: Owner, path: str) -> None:
        self.name = Template(f"{{{path}}}")
        self._owner = owner
        self._path = path
        self._templates: tuple[Template, ...] = ()

    def patterns(self, values: Mapping[str, Any]) -> Iterator[KeyPattern]:
        """What to drop; nothing if the name is None, because the field was not given."""
        if self.name.render(values) is None:
            return
        registered = self._owner.patterns(self._path)
        if len(registered) != len(self._templates):  # another module was imported since
            self._templates = tuple(map(Template, registered))
        for template in self._templates:
            pattern = template.render(values)
            if pattern is not None:
                yield KeyPattern(pattern)
