"""The grammar of FIELDS: `title:str(2..80) price:decimal(0..) sku:str(8..20)! note:text? owner:user tier:tier`."""

import re
from dataclasses import dataclass
from decimal import Decimal

from dev.entity.errors import EntityError
from dev.entity.names import check_name

FORM = "name:type, with ? for optional and ! for unique"
TYPES = "str(2..80), text, int(0..), decimal(0..), bool, date, datetime, uuid, url, email, enum(new,used)"
OWNER = "owner"
"""The field that makes a user the only one who writes: `owner:user`."""
MAX_STR = 10_000
MAX_SHORT = 255
"""Of a str without bounds, and of a unique one: PostgreSQL indexes at most 2,700 bytes of a value."""
MAX_TEXT = 63_206
MAX_WORD = 30
BOUNDED = {"str", "text", "int", "decimal"}
UNIQUE = {"str", "int", "decimal", "date", "datetime", "uuid", "email"}
SIMPLE = {"bool", "date", "datetime", "uuid", "url", "email"}
MIN_INT32, MAX_INT32 = -(2**31), 2**31 - 1
MAX_DECIMAL = 10**10 - 1
LEAST_UNIQUE_VALUES = 20
"""The generated tests store some rows."""
RESERVED = {
    *("id", "uuid", "created_at", "updated_at", "deleted_at", "is_deleted", "created_by_user_id"),  # columns
    *("metadata", "registry"),  # SQLAlchemy's
    *("copy", "dict", "json", "schema", "validate", "construct", "fields", "parse_obj", "parse_raw"),  # Pydantic's
    *("base", "read", "create", "update", "create_internal"),  # endings of the schemas' names
}
_FIELD = re.compile(r"(?P<name>[^:\s]+):(?P<type>\w+)(?:\((?P<inside>[^()]*)\))?(?P<marks>[?!]*)")
_BOUNDS = re.compile(r"(?P<low>-?\d+(?:\.\d\d?)?)?\.\.(?P<high>-?\d+(?:\.\d\d?)?)?")
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SEPARATOR = re.compile(r"\s+(?![^(]*\))")


@dataclass(frozen=True, slots=True)
class Field:
    """One field; a reference's `kind` is `reference`, and `target` the entity that it refers to."""

    name: str
    kind: str
    low: Decimal | None = None
    high: Decimal | None = None
    enum: tuple[str, ...] = ()
    target: str = ""
    optional: bool = False
    unique: bool = False

    @property
    def column(self) -> str:
        return f"{self.name}_id" if self.target else self.name

    @property
    def words(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Fields:
    """All fields but the owner, in the order in which they were given."""

    fields: tuple[Field, ...]
    owned: bool

    @property
    def unique(self) -> list[Field]:
        return [field for field in self.fields if field.unique]

    @property
    def references(self) -> list[Field]:
        return [field for field in self.fields if field.target]


def parse_fields(text: str) -> Fields:
    """Raises `EntityError` with the right form of what is wrong."""
    parts = _SEPARATOR.split(text.strip()) if text.strip() else []
    owned = f"{OWNER}:user" in parts
    fields = tuple(_parse(part) for part in parts if part != f"{OWNER}:user")
    if not fields:
        raise EntityError(f'FIELDS is empty; write {FORM}: FIELDS="title:str(2..80) price:decimal stock:int(0..)?"')
    columns = [field.column for field in fields]
    for column in columns:
        if columns.count(column) > 1 or parts.count(f"{OWNER}:user") > 1:
            raise EntityError(f"the field {column!r} is given twice")
    return Fields(fields, owned)


def _parse(part: str) -> Field:
    match = _FIELD.fullmatch(part)
    if match is None or len(set(match["marks"])) < len(match["marks"]):
        raise EntityError(f"the field {part!r}: write {FORM}: price:decimal(0..)?")
    name, kind, inside = match.group("name", "type", "inside")
    _check_field_name(name)
    optional, unique = "?" in match["marks"], "!" in match["marks"]
    if unique and kind not in UNIQUE:
        raise EntityError(f"the field {part!r}: ! is for {', '.join(sorted(UNIQUE))}")
    if kind == "enum":
        return Field(name, kind, enum=_words(part, inside or ""), optional=optional)
    if kind in BOUNDED:
        low, high = _bounds(part, kind, inside, unique)
        return Field(name, kind, low, high, optional=optional, unique=unique)
    if inside is not None:
        raise EntityError(f"the field {part!r}: {kind} has no bounds: {name}:{kind}")
    if kind in SIMPLE:
        return Field(name, kind, optional=optional, unique=unique)
    return Field(name, "reference", target=kind, optional=optional)


def _check_field_name(name: str) -> None:
    check_name(name, "the field", "unit_price:decimal")
    if name == OWNER:
        raise EntityError("the field 'owner': write owner:user, for the user who alone writes a row")
    if name in RESERVED:
        raise EntityError(f"the field {name!r}: the name has a meaning of its own; choose another")


def _words(part: str, inside: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in re.split(r"[,|]", inside))
    fits = all(_WORD.fullmatch(word) and len(word) <= MAX_WORD for word in words)
    if len(words) < 2 or len(set(words)) < len(words) or not fits:
        raise EntityError(f"the field {part!r}: name two or more words in lower case: status:enum(draft,published)")
    return words


def _bounds(part: str, kind: str, inside: str | None, unique: bool) -> tuple[Decimal | None, Decimal | None]:
    match = _BOUNDS.fullmatch(inside or "..")
    is_whole = kind == "decimal" or "." not in (inside or "").replace("..", "")
    if match is None or not is_whole:
        raise EntityError(f"the field {part!r}: write bounds as {kind}(2..80), {kind}(2..) or {kind}(..80)")
    low, high = (None if bound is None else Decimal(bound) for bound in match.group("low", "high"))
    if kind in {"str", "text"}:
        default = MAX_TEXT if kind == "text" else MAX_SHORT
        low, high = Decimal(high is None) if low is None else low, Decimal(default) if high is None else high
    least, most = _limits(kind, unique)
    lowest, highest = least if low is None else low, most if high is None else high
    if not least <= lowest < highest <= most:
        raise EntityError(f"the field {part!r}: {kind} has bounds from {least} to {most}, the lower one first")
    values = highest - lowest if kind in {"int", "decimal"} else 10 ** min(highest, Decimal(9)) - 1
    if unique and values < LEAST_UNIQUE_VALUES:
        raise EntityError(f"the field {part!r}: too few values to be unique; widen the bounds, or leave ! out")
    return low, high


def _limits(kind: str, unique: bool) -> tuple[int, int]:
    if kind == "str":
        return 0, MAX_SHORT if unique else MAX_STR
    return {"text": (0, MAX_TEXT), "int": (MIN_INT32, MAX_INT32), "decimal": (-MAX_DECIMAL, MAX_DECIMAL)}[kind]
