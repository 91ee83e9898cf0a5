"""What each type of field is in the model, the schemas, the migration and the tests."""

from dev.entity import numbers
from dev.entity.fields import Field
from dev.entity.kind import SCHEMAS, Kind, constrained

MAX_LISTED_WORDS = 60
"""Of an enum's words in a description, in characters."""


def kind_of(field: Field) -> Kind:
    return _KINDS[field.kind](field)


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
        given=constrained("Text", min_length=low or None, max_length=high),
        description=f", {low} to {high} characters" if low else f", at most {high} characters",
        example=f'"{example}"',
        numbered=f'f"{title} {{number}}"' if fits else f'f"{{number:0{max(low, 1)}}}"',
        changed=f'"{_text_example(field, "Changed")}"' if high >= 7 >= low else f'"{"y" * max(low, 1)}"',
        wrong=(*((f'"{"x" * (low - 1)}"',) if 1 <= low <= 10 else ()), f'"x" * {high + 1}', '"nul\\x00"'),
        model_imports=(("sqlalchemy", "String"),),
        schema_imports=((SCHEMAS, "Text"),),
    )


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
        schema_imports=((SCHEMAS, "UtcDatetime"), ("datetime", "datetime")),
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
        schema_imports=((SCHEMAS, "HttpUrlText"),),
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
        schema_imports=((SCHEMAS, "EmailText"),),
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
        schema_imports=((SCHEMAS, "Id"),),
    )


_KINDS = {
    "str": _str,
    "text": _str,
    "int": numbers.whole,
    "decimal": numbers.decimal,
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
