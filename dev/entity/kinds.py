"""What each type of field is in the model, the schemas, the migration and the tests."""

from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor

from dev.entity.fields import LEAST_UNIQUE_VALUES, MAX_DECIMAL, MAX_INT32, MIN_INT32, Field

Imports = tuple[tuple[str, str], ...]
"""Pairs of a module and a name in it."""
_SCHEMAS = "app.core.schemas"
MAX_LISTED_WORDS = 60
"""Of an enum's words in a description, in characters."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Python code, except for `description`, which continues `The price`.

    `given` are arguments of `Annotated`. `numbered` is an expression with `number`, for rows whose values must differ.
    """

    python: str
    column: str
    migrated: str
    given: str
    description: str
    example: str
    numbered: str
    changed: str
    wrong: tuple[str, ...]
    model_imports: Imports = ()
    schema_imports: Imports = ()


def kind_of(field: Field) -> Kind:
    return _KINDS[field.kind](field)


def _constrained(base: str, **constraints: object) -> str:
    given = ", ".join(f"{name}={value}" for name, value in constraints.items() if value is not None)
    return f"{base}, Field({given})" if given else base


def _text_example(field: Field, words: str) -> str:
    low, high = int(field.low or 0), int(field.high or 0)
    return words if low <= len(words) <= high else "x" * max(low, 1)


def _str(field: Field) -> Kind:
    low, high = int(field.low or 0), int(field.high or 0)
    title = field.words.capitalize()
    fits = low <= len(title) + 2 and len(title) + 3 <= high
    example = _text_example(field, f"{title} 1")
    return Kind(
        python="str",
        column=f"String({high})",
        migrated=f"sa.String(length={high})",
        given=_constrained("Text", min_length=low or None, max_length=high),
        description=f", {low} to {high} characters" if low else f", at most {high} characters",
        example=f'"{example}"',
        numbered=f'f"{title} {{number}}"' if fits else f'f"{{number:0{max(low, 1)}}}"',
        changed=f'"{_text_example(field, "Changed")}"' if high >= 7 >= low else f'"{"y" * max(low, 1)}"',
        wrong=(*((f'"{"x" * (low - 1)}"',) if 1 <= low <= 10 else ()), f'"x" * {high + 1}', '"nul\\x00"'),
        model_imports=(("sqlalchemy", "String"),),
        schema_imports=((_SCHEMAS, "Text"),),
    )


def _number(field: Field, low: object, high: object) -> str:
    unit = " 2 decimal places" if field.kind == "decimal" else ""
    if low is not None and high is not None:
        return f", {low} to {high}" + (f", with{unit}" if unit else "")
    bound = f", {low} or more" if low is not None else f", {high} or less" if high is not None else ""
    return bound + (f", with{unit}" if unit else "" if bound else ", a whole number")


def _start(low: Decimal | None, high: Decimal | None) -> int:
    """A whole number from which others follow within the bounds."""
    is_low = high is not None and high < LEAST_UNIQUE_VALUES
    if low is not None and (low > 0 or is_low):
        return ceil(low)
    return floor(high) - LEAST_UNIQUE_VALUES if high is not None and is_low else 0


def _plus(start: int, code: str) -> str:
    return f"{start} + {code}" if start else code


def _int(field: Field) -> Kind:
    low, high = (None if bound is None else int(bound) for bound in (field.low, field.high))
    start = _start(field.low, field.high)
    below, above = (MIN_INT32 if low is None else low) - 1, (MAX_INT32 if high is None else high) + 1
    return Kind(
        python="int",
        column="",
        migrated="sa.Integer()",
        given=_constrained("Int32", ge=low, le=high),
        description=_number(field, low, high),
        example=str(start + 1),
        numbered=_plus(start, "number"),
        changed=str(start + 2 if high is None or start + 2 <= high else start),
        wrong=(str(below), str(above), '"x"'),
        schema_imports=((_SCHEMAS, "Int32"),),
    )


def _decimal(field: Field) -> Kind:
    low, high, start = field.low, field.high, _start(field.low, field.high)
    has_room = high is None or start + 2 <= high
    above = (Decimal(MAX_DECIMAL) if high is None else high) + 1
    number = ("decimal", "Decimal")
    return Kind(
        python="Decimal",
        column="Numeric(12, 2)",
        migrated="sa.Numeric(precision=12, scale=2)",
        given=_constrained("Decimal", max_digits=12, decimal_places=2, ge=_bound(low), le=_bound(high)),
        description=_number(field, low, high),
        example=f'"{start + 1 if has_room else low:.2f}"',
        numbered=f'f"{{{_plus(start, "number")}}}.00"',
        changed=f'"{start + 2 if has_room else high:.2f}"',
        wrong=('"1.001"', f'"{above}"', *((f'"{low - 1}"',) if low is not None else ()), '"NaN"'),
        model_imports=(number, ("sqlalchemy", "Numeric")),
        schema_imports=(number,),
    )


def _bound(bound: Decimal | None) -> str | None:
    if bound is None:
        return None
    return str(int(bound)) if bound == int(bound) else f'Decimal("{bound}")'


def _bool(field: Field) -> Kind:
    return Kind(
        python="bool",
        column="",
        migrated="sa.Boolean()",
        given="bool",
        description=", `true` or `false`",
        example="True",
        numbered="True",
        changed="False",
        wrong=('"perhaps"',),
    )


def _date(field: Field) -> Kind:
    return Kind(
        python="date",
        column="",
        migrated="sa.Date()",
        given="date",
        description=", as `YYYY-MM-DD`",
        example='"2026-01-01"',
        numbered='f"2026-01-{number:02}"',
        changed='"2026-12-31"',
        wrong=('"2026-02-30"',),
        model_imports=(("datetime", "date"),),
        schema_imports=(("datetime", "date"),),
    )


def _datetime(field: Field) -> Kind:
    return Kind(
        python="datetime",
        column="DateTime(timezone=True)",
        migrated="sa.DateTime(timezone=True)",
        given="UtcDatetime",
        description=", a time with its offset, returned in UTC",
        example='"2026-01-01T12:00:00Z"',
        numbered='f"2026-01-01T12:{number:02}:00Z"',
        changed='"2026-12-31T12:00:00Z"',
        wrong=('"2026-01-01T12:00:00"', '"0001-01-01T00:00:00+01:00"'),
        model_imports=(("datetime", "datetime"), ("sqlalchemy", "DateTime")),
        schema_imports=((_SCHEMAS, "UtcDatetime"), ("datetime", "datetime")),
    )


def _uuid(field: Field) -> Kind:
    return Kind(
        python="UUID",
        column="",
        migrated="sa.Uuid()",
        given="UUID",
        description=", a UUID",
        example='"00000000-0000-4000-8000-000000000001"',
        numbered='f"00000000-0000-4000-8000-{number:012}"',
        changed='"00000000-0000-4000-8000-0000000000ff"',
        wrong=('"x"',),
        model_imports=(("uuid", "UUID"),),
        schema_imports=(("uuid", "UUID"),),
    )


def _url(field: Field) -> Kind:
    return Kind(
        python="str",
        column="String(2083)",
        migrated="sa.String(length=2083)",
        given="HttpUrlText",
        description=", an http or https URL",
        example=f'"https://www.example.com/{field.name}"',
        numbered=f'f"https://www.example.com/{field.name}/{{number}}"',
        changed='"https://www.example.com/changed"',
        wrong=('"ftp://www.example.com"',),
        model_imports=(("sqlalchemy", "String"),),
        schema_imports=((_SCHEMAS, "HttpUrlText"),),
    )


def _email(field: Field) -> Kind:
    return Kind(
        python="str",
        column="String(254)",
        migrated="sa.String(length=254)",
        given="EmailText",
        description=", an email address, stored in lower case",
        example=f'"{field.name}@example.com"',
        numbered=f'f"{field.name}{{number}}@example.com"',
        changed='"changed@example.com"',
        wrong=('"x"',),
        model_imports=(("sqlalchemy", "String"),),
        schema_imports=((_SCHEMAS, "EmailText"),),
    )


def _enum(field: Field) -> Kind:
    quoted = [f"`{word}`" for word in field.enum]
    listed = f": {', '.join(quoted[:-1])} or {quoted[-1]}"
    words = ", ".join(f'"{word}"' for word in field.enum)
    return Kind(
        python="str",
        column="String(30)",
        migrated="sa.String(length=30)",
        given=f"Literal[{words}]",
        description=listed if len(listed) <= MAX_LISTED_WORDS else f", one of {len(quoted)} words",
        example=f'"{field.enum[0]}"',
        numbered=f'"{field.enum[0]}"',
        changed=f'"{field.enum[1]}"',
        wrong=('"another word"',),
        model_imports=(("sqlalchemy", "String"),),
        schema_imports=(("typing", "Literal"),),
    )


def _reference(field: Field) -> Kind:
    return Kind(
        python="int",
        column="index=True",
        migrated="sa.Integer()",
        given="Id",
        description=f" of the {field.words}",
        example="1",
        numbered="1",
        changed="1",
        wrong=("0", '"x"'),
        schema_imports=((_SCHEMAS, "Id"),),
    )


_KINDS = {
    "str": _str,
    "text": _str,
    "int": _int,
    "decimal": _decimal,
    "bool": _bool,
    "date": _date,
    "datetime": _datetime,
    "uuid": _uuid,
    "url": _url,
    "email": _email,
    "enum": _enum,
    "reference": _reference,
}


def description(field: Field) -> str:
    """A sentence for the API's documentation."""
    subject = "The `id`" if field.target else f"The unique {field.words}" if field.unique else f"The {field.words}"
    return f"{subject}{kind_of(field).description}{', or `null`' if field.optional else ''}."
