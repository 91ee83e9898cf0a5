"""What one type of field is."""

from dataclasses import dataclass

Imports = tuple[tuple[str, str], ...]
"""Pairs of a module and a name in it."""
SCHEMAS = "app.core.schemas"


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


def constrained(base: str, **constraints: object) -> str:
    given = ", ".join(f"{name}={value}" for name, value in constraints.items() if value is not None)
    return f"{base}, Field({given})" if given else base
