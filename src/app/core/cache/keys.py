"""Keys from templates such as `{username}_posts:{window}`; a value in a key never reaches beyond its own place."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter
from typing import Any
from urllib.parse import quote

from app.core.exceptions.cache_exceptions import InvalidRequestError

MAX_VALUE_CHARACTERS = 200
RESERVED = "_cache:"
"""The beginning of the cache's own keys."""
_PLACEHOLDER = re.compile(r"{([^{}]*)}")
_WILDCARD = re.compile(r"\*|\?|\[[^\]]+\]")


def _escape(value: str) -> str:
    """The value itself where it is plain; what has a meaning in keys and patterns is percent-encoded."""
    if value.isascii() and value.isalnum() and len(value) <= MAX_VALUE_CHARACTERS:
        return value
    escaped = quote(value, safe="@+,=$", errors="surrogatepass")
    if escaped.startswith("_"):  # so that no value begins like `RESERVED`
        escaped = f"%5F{escaped[1:]}"
    return escaped if len(escaped) <= MAX_VALUE_CHARACTERS else f"sha256-{sha256(escaped.encode()).hexdigest()}"


def _render(value: object) -> str:
    if isinstance(value, int) and type(value) is int:
        return str(value)
    if (names := getattr(type(value), "__dataclass_fields__", None)) is not None:
        return ":".join([f"{name}_{_escape(str(getattr(value, name)))}" for name in names])
    return _escape(str(value))


@dataclass(frozen=True, slots=True)
class _Placeholder:
    """A parameter's name or an attribute of one, and the literal text that follows it."""

    path: str
    read: Callable[[Any], Any] | None
    text: str

    @property
    def parameter(self) -> str:
        return self.path.partition(".")[0]

    def value(self, values: Mapping[str, Any]) -> Any:
        value = values[self.parameter] if self.read else values[self.path]
        return self.read(value) if self.read else value


class Template:
    """A key or a pattern with placeholders: `{username}`, or `{values.username}` for an attribute."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._beginning, *rest = _PLACEHOLDER.split(text)
        paths, literals = rest[::2], rest[1::2]
        self._placeholders = tuple(
            _Placeholder(path, attrgetter(path.partition(".")[2]) if "." in path else None, literal)
            for path, literal in zip(paths, literals, strict=True)
        )

    def __repr__(self) -> str:
        return f"Template({self.text!r})"

    @property
    def paths(self) -> tuple[str, ...]:
        """The contents of its braces."""
        return tuple(each.path for each in self._placeholders)

    def with_wildcards(self, kept: str) -> str:
        """A pattern for all values of the placeholders but `kept`."""
        return _PLACEHOLDER.sub(lambda found: found[0] if found[1] == kept else "*", self.text)

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the parameters that it needs."""
        return frozenset(each.parameter for each in self._placeholders)

    def check(self, parameters: Iterable[str], endpoint: str) -> None:
        """Raises `InvalidRequestError` for a placeholder that is no parameter, and for a reserved beginning."""
        known = list(parameters)
        for each in self._placeholders:
            if each.parameter not in known:
                raise InvalidRequestError(
                    f"@cache on {endpoint}: {{{each.parameter}}} in {self.text!r} is no parameter of the endpoint. "
                    f"Add the parameter, or use one of: {', '.join(known)}."
                )
        try:
            _regex(self.text)
        except re.error as error:
            raise InvalidRequestError(f"@cache on {endpoint}: {self.text!r} is no pattern: {error}.") from None
        if self.text.startswith(RESERVED):
            raise InvalidRequestError(
                f"@cache on {endpoint}: keys that begin with {RESERVED!r} belong to the cache itself. "
                f"Choose another beginning than that of {self.text!r}."
            )

    def render(self, values: Mapping[str, Any], absent: str | None = None) -> str | None:
        """None if a value is None, unless `absent` is the text to put there."""
        text = self._beginning
        for each in self._placeholders:
            value = each.value(values)
            if value is None and absent is None:
                return None
            text += (absent or "" if value is None else _render(value)) + each.text
        return text


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """All keys that match a glob, as Redis understands it: `*`, `?`, `[ab]`, `[^ab]`."""

    glob: str

    @property
    def is_exact(self) -> bool:
        return _WILDCARD.search(self.glob) is None

    @property
    def family(self) -> str | None:
        """The family that holds all matching keys; None if they may be in several."""
        family, colon, _ = self.glob.partition(":")
        return family if colon and KeyPattern(family).is_exact else None

    @property
    def whole_family(self) -> str | None:
        """The family, if the pattern means all of it and nothing else: `users` for `users:*`."""
        family = self.glob[:-2]
        return family if self.glob.endswith(":*") and ":" not in family and KeyPattern(family).is_exact else None

    @property
    def scope(self) -> str:
        """The longest part between colons that all matching keys begin with."""
        beginning = _WILDCARD.split(self.glob, maxsplit=1)[0]
        return beginning.rpartition(":")[0]

    def matches(self, key: str) -> bool:
        return _regex(self.glob).fullmatch(key) is not None


@lru_cache(1024)
def _regex(glob: str) -> re.Pattern[str]:
    literals, wildcards = map(re.escape, _WILDCARD.split(glob)), [*map(_wildcard, _WILDCARD.findall(glob)), ""]
    return re.compile("".join(map(str.__add__, literals, wildcards)), re.DOTALL)


def _wildcard(wildcard: str) -> str:
    if len(wildcard) == 1:
        return ".*" if wildcard == "*" else "."
    members = wildcard[1:-1].removeprefix("^")
    escaped = "".join(each if each.isalnum() or each == "-" else f"\\{each}" for each in members)
    return f"[{'^' if wildcard[1] == '^' else ''}{escaped}]"


def family_of(key: str) -> str:
    """The part before the first colon, which entries share that are usually dropped together."""
    return key.partition(":")[0]


def scopes(key: str) -> list[str]:
    """Where writes that may change the key's entry announce themselves: the key and what it is below."""
    parts = key.split(":")
    return ["", *(":".join(parts[:count]) for count in range(1, len(parts) + 1))]
