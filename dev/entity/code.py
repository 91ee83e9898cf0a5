"""The parts of the code that depend on the fields: placeholders of the templates, except those of the tests."""

from dev.entity.entity import OWNER_COLUMN, Entity
from dev.entity.fields import Field
from dev.entity.kind import Imports
from dev.entity.kinds import description, kind_of
from dev.entity.python import WIDTH
from dev.entity.render import Values

SHARED = {"user", "tier"}
"""The entities whose `NOT_FOUND` is in `app.api.responses`."""


def code_values(entity: Entity) -> Values:
    return {**entity.names.values(), **_model(entity), **_schemas(entity), **_endpoints(entity)}


def _import_lines(imports: Imports) -> list[str]:
    """One paragraph each for the standard library, other packages, and the application."""
    groups: list[list[str]] = [[], [], []]
    for module, name in dict.fromkeys(imports):
        group = 2 if module.startswith("app") else 1 if module.startswith(("sqlalchemy", "pydantic")) else 0
        groups[group].append(f"from {module} import {name}")
    return [line for group in groups if group for line in ("", *group)][1:]


def _constraints(entity: Entity) -> list[tuple[str, str]]:
    """The class and the arguments of each."""
    unique = [
        ("UniqueConstraint", f'"{field.column}", info={{"detail": "{entity.detail(field)}"}}')
        for field in entity.fields.unique
    ]
    foreign = [
        (
            "ForeignKeyConstraint",
            f'["{key.column}"], ["{key.table}.id"], ondelete="{key.on_delete}", info={{"detail": "{key.detail}"}}',
        )
        for key in entity.foreign_keys
    ]
    return [*unique, *foreign, *([("Index", f'None, "{OWNER_COLUMN}", "id"')] if entity.fields.owned else [])]


def _table_arguments(constraints: list[str]) -> list[str]:
    if not constraints:
        return []
    comment = "# The text is the `detail` of the response when a request violates the constraint."
    only = f"__table_args__ = ({constraints[0]},)"
    if len(constraints) == 1 and len(f"    {only}") <= WIDTH:
        return [comment, only]
    return [comment, "__table_args__ = (", *(f"    {constraint}," for constraint in constraints), ")"]


def _or_none(python: str, field: Field) -> str:
    return f"{python} | None" if field.optional else python


def _column(field: Field) -> str:
    kind = kind_of(field)
    options = ", ".join(filter(None, (kind.column, "default=None" if field.optional else "")))
    column = f" = mapped_column({options})" if options else ""
    return f"{field.column}: Mapped[{_or_none(kind.python, field)}]{column}"


def _model(entity: Entity) -> Values:
    constraints = _constraints(entity)
    imports = [pair for field in entity.stored for pair in kind_of(field).model_imports]
    imports += [("sqlalchemy", name) for name, _ in constraints]
    imports += [("sqlalchemy.orm", "Mapped"), ("sqlalchemy.orm", "mapped_column")]
    owner = [f"{OWNER_COLUMN}: Mapped[int]"] if entity.fields.owned else []
    return {
        "model_imports": _import_lines(tuple(imports)),
        "table_arguments": _table_arguments([f"{name}({arguments})" for name, arguments in constraints]),
        "columns": [*owner, *map(_column, entity.stored)],
    }


def _text_name(field: Field) -> str:
    return f"_{field.column.upper()}"


def _text(field: Field) -> str:
    return f'{_text_name(field)} = Field(description="{description(field)}", examples=[{kind_of(field).example}])'


def _type_name(entity: Entity, field: Field) -> str:
    return entity.names.model + field.column.title().replace("_", "")


def _type(entity: Entity, field: Field) -> str:
    given = kind_of(field).given
    if field.optional:
        given = f"Annotated[{given}] | None" if "Field(" in given else f"{given} | None"
    return f"{_type_name(entity, field)} = Annotated[{given}, {_text_name(field)}]"


def _given(entity: Entity, field: Field) -> str:
    return f"{field.column}: {_type_name(entity, field)}{' = None' if field.optional else ''}"


def _read(field: Field) -> str:
    return f"{field.column}: Annotated[{_or_none(kind_of(field).python, field)}, {_text_name(field)}]"


def _schemas(entity: Entity) -> Values:
    fields = entity.fields.fields
    imports = [pair for field in fields for pair in kind_of(field).schema_imports]
    imports += [("typing", "Annotated"), *(("pydantic", name) for name in ("BaseModel", "ConfigDict", "Field"))]
    imports += [("app.core.schemas", name) for name in ("CreatedAt", "StrictInput", "omitted")]
    owner = f'{OWNER_COLUMN}: Annotated[int, Field(description="The `id` of the owner.", examples=[1])]'
    return {
        "schema_imports": _import_lines(tuple(imports)),
        "texts": [_text(field) for field in fields],
        "types": [_type(entity, field) for field in fields],
        "given": [_given(entity, field) for field in fields],
        "stored": ["", f"{OWNER_COLUMN}: int"] if entity.fields.owned else [],
        "read": [*map(_read, fields), *([owner] if entity.fields.owned else [])],
        "changed": [f"{field.column}: {_type_name(entity, field)} = omitted()" for field in fields],
    }


def _case_name(field: Field) -> str:
    return f"{field.name.upper()}_NOT_FOUND" if field.target else f"{field.column.upper()}_TAKEN"


def _error_case(entity: Entity, field: Field) -> str:
    if field.target:
        return f'{_case_name(field)} = not_found("{field.words.title()}", "The {field.words} does not exist.")'
    reason = f"Another {entity.names.words} has this {field.words}."
    return f'{_case_name(field)} = unprocessable("{entity.detail(field)}", "{reason}")'


def _endpoints(entity: Entity) -> Values:
    """The errors that the endpoints document, and whose changes drop their cached responses."""
    fields = (*entity.fields.unique, *entity.fields.references)
    cases = ", ".join(map(_case_name, fields))
    shared = {_case_name(field) for field in fields if field.name == field.target in SHARED}
    imported = ["errors", "message", "not_found", *(["unprocessable"] if entity.fields.unique else []), *shared]
    owners = {entity.targets[field.target].owner for field in entity.fields.references} - {""}
    if entity.fields.owned:
        owners.add("USER")
        imported.append("USER_NOT_FOUND")
    large = ", ".join(f'"{column}"' for column in entity.large_columns)
    return {
        "endpoint_imports": [
            *([f"from app.api.owners import {', '.join(owners)}"] if owners else []),
            f"from app.api.responses import {', '.join(imported)}",
        ],
        "error_cases": [_error_case(entity, field) for field in fields if _case_name(field) not in shared],
        "owners": f", owners=[{', '.join(sorted(owners))}]" if owners else "",
        "creation_errors": [f"responses=errors({cases}),"] if cases else [],
        "change_errors": f"{entity.names.entity.upper()}_NOT_FOUND{', ' if cases else ''}{cases}",
        "large": f", large_columns=[{large}]" if large else "",
    }
