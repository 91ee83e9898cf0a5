"""The placeholders of the templates for the tests of an entity: values that are right, changed and wrong."""

from dev.entity.entity import Entity
from dev.entity.fields import Field
from dev.entity.kinds import kind_of
from dev.entity.render import TEMPLATES, Values, fill


def _new(entity: Entity) -> list[str]:
    """The definition of the values, which depend on a number if some of them must be unique."""
    fields = entity.fields.fields
    values = [f'"{field.column}": {_value(field)},' for field in fields]
    if not entity.fields.unique:
        return ["NEW: dict[str, Any] = {", *(f"    {value}" for value in values), "}", _change(entity)]
    return [
        _change(entity),
        "",
        "",
        "def new(number: int = 1) -> dict[str, Any]:",
        '    """Values of which the unique ones depend on the number."""',
        "    return {",
        *(f"        {value}" for value in values),
        "    }",
    ]


def _value(field: Field) -> str:
    return kind_of(field).numbered if field.unique else kind_of(field).example


def _change(entity: Entity) -> str:
    def rank(field: Field) -> tuple[bool, bool]:
        return bool(field.target), field.unique

    field = min(entity.fields.fields, key=rank)
    return f'CHANGE: dict[str, Any] = {{"{field.column}": {kind_of(field).changed}}}'


def _wrong(entity: Entity) -> list[str]:
    fields = entity.fields.fields
    wrong = [f'{{"{field.column}": {value}}},' for field in fields for value in kind_of(field).wrong]
    nulls = [f'{{"{field.column}": None}},' for field in fields if not field.optional]
    return [*wrong, *nulls, '{"id": 2},', '{"unknown": 1},']


def _references(entity: Entity, account: str) -> list[str]:
    """Stores a row of each entity that is referred to; users are there anyway."""
    lines = []
    for target in dict.fromkeys(field.target for field in entity.fields.references):
        if target == "tier":
            lines.append("await rows.tier()")
        elif target != "user":
            lines.append(f"await arrange_{target}(client, rows, {account})")
    return lines


def _more_tests(entity: Entity, values: Values) -> list[str]:
    lines: list[str] = []

    def add(template: str, **more: str | list[str]) -> None:
        text = (TEMPLATES / f"{template}.py.txt").read_text(encoding="utf-8")
        lines.extend(fill(text, {**values, **more}).rstrip("\n").splitlines())

    for field in entity.fields.unique:
        add("test_unique", field=field.column, column=field.column, detail=entity.detail(field))
    optional = [f'"{field.column}"' for field in entity.fields.fields if field.optional]
    if optional:
        add("test_optional", optional=", ".join(optional))
    for field in entity.fields.references:
        add("test_reference", field=field.name, column=field.column, detail=entity.detail(field))
    if tiers := [field for field in entity.fields.references if field.target == "tier"]:
        stays = all(field.optional for field in tiers)
        nulls = ", ".join(f'"{field.column}": None' for field in tiers)
        shown = [f"assert after.json() == before.json() | {{{nulls}}}"] if stays else []
        add("test_deleted_tier", status="200" if stays else "404", shown=shown)
    return lines


def test_values(entity: Entity) -> Values:
    names, unique, owned = entity.names, entity.fields.unique, entity.fields.owned
    actor = "owner" if owned else "root"
    refer = _references(entity, "account")
    make = 'rows.user("userson")' if owned else "rows.superuser()"
    needs_client = any("arrange_" in line for line in refer)
    imports = ["import asyncio"] if unique else []
    values: Values = {
        "actor": actor,
        "url": f"{{API}}/userson/{names.entity}" if owned else f"{{API}}/{names.entity}",
        "number_parameter": ", number: int = 1" if unique else "",
        "new_number": "new(number)" if unique else "NEW",
        "new_first": "new()" if unique else "NEW",
        "new_other": "new(2)" if unique else "NEW",
        "loop_number": ", number" if unique else "",
        "each": "number" if unique else "_",
    }
    return {
        **values,
        "new": _new(entity),
        "wrong": _wrong(entity),
        "test_imports": [*imports, "from typing import Any"],
        "reference_imports": [
            f"from tests.test_{target} import arrange as arrange_{target}"
            for target in dict.fromkeys(field.target for field in entity.fields.references)
            if target not in {"user", "tier"}
        ],
        "refer_by_owner": _references(entity, "owner"),
        "fixture_parameters": "client: httpx.AsyncClient, rows: Rows" if needs_client else "rows: Rows",
        "fixture": [f"account = await {make}", *refer, "return account"] if refer else [f"return await {make}"],
        "more_tests": _more_tests(entity, values),
    }
