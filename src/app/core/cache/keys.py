"""Keys from templates such as `{username}_posts:{window}`; what a value contains cannot reach beyond its own place."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from app.core.exceptions.cache_exceptions import InvalidRequestError

MAX_VALUE_CHARACTERS = 200
_PLACEHOLDER = re.compile(r"{([^{}]*)}")
_GLOB = re.compile(r"\*|\?|\[[^\]]+\]")


class _Absent(Exception):  # noqa: N818 - not an error: an optional value was not given
    pass


def _escape(value: str) -> str:
    """The value itself where it is plain; what means something in keys and patterns is percent-encoded."""
    escaped = quote(value, safe="@+,=$", errors="surrogatepass")
    return escaped if len(escaped) <= MAX_VALUE_CHARACTERS else f"sha256-{sha256(escaped.encode()).hexdigest()}"


def _render(value: object) -> str:
    if value is None:
        raise _Absent
    if is_dataclass(value):
        return ":".join(f"{field.name}_{_escape(str(getattr(value, field.name)))}" for field in fields(value))
    return _escape(str(value))


def _lookup(path: str, values: Mapping[str, Any]) -> object:
    name, *attributes = path.split(".")
    value = values[name]
    for attribute in attributes:
        value = getattr(value, attribute)
    return value


def _lua(glob: str) -> str:
    """A pattern of Lua that finds what the glob of Redis would."""
    if glob == "*":
        return ".*"
    if glob == "?":
        return "."
    body = glob[1:-1]
    sign = "^" if body.startswith("^") else ""
    members = body.removeprefix("^")
    return f"[{sign}{''.join(c if c.isalnum() or c == '-' else '%' + c for c in members)}]"


def _lua_literal(text: str) -> str:
    return "".join(c if c.isalnum() or not c.isascii() else "%" + c for c in text)


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """All keys that begin with `prefix` and match the Lua pattern."""

    prefix: str
    lua: str

    @property
    def scope(self) -> str:
        return self.prefix.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Template:
    """A key or a pattern with placeholders: a parameter's name, or an attribute of one (`{values.username}`)."""

    text: str

    def paths(self) -> Iterator[str]:
        """What stands in its braces."""
        return (match[1] for match in _PLACEHOLDER.finditer(self.text))

    def names(self) -> Iterator[str]:
        """The parameters that it needs."""
        return (path.partition(".")[0] for path in self.paths())

    def check(self, parameters: Iterable[str], endpoint: str) -> None:
        known = list(parameters)
        for name in self.names():
            if name not in known:
                raise InvalidRequestError(
                    f"@cache on {endpoint}: {{{name}}} in {self.text!r} is no parameter of the endpoint. "
                    f"Add the parameter, or use one of: {', '.join(known)}."
                )

    def key(self, values: Mapping[str, Any], absent: str | None = None) -> str | None:
        """None if a value is None, unless `absent` says what to put there."""
        try:
            return _PLACEHOLDER.sub(lambda match: self._value(match[1], values, absent), self.text)
        except _Absent:
            return None

    @staticmethod
    def _value(path: str, values: Mapping[str, Any], absent: str | None) -> str:
        value = _lookup(path, values)
        return absent if value is None and absent is not None else _render(value)

    def pattern(self, values: Mapping[str, Any]) -> KeyPattern | None:
        """None if a value is None."""
        literals = _GLOB.split(self.text)
        rendered = [Template(literal).key(values) for literal in literals]
        parts = [part for part in rendered if part is not None]
        if len(parts) < len(rendered):
            return None
        globs = [*map(_lua, _GLOB.findall(self.text)), "$"]
        lua = "^" + "".join(_lua_literal(part) + glob for part, glob in zip(parts, globs, strict=True))
        return KeyPattern(parts[0], lua)


def scopes(key: str) -> list[str]:
    """Where writes that may change the key's entry announce themselves: the key and what it is below."""
    parts = key.split(":")
    return ["", *(":".join(parts[:count]) for count in range(1, len(parts) + 1))]
