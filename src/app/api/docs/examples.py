"""Examples for the OpenAPI document, made from the schemas: of requests and responses, and of invalid requests."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from fastapi.dependencies.models import Dependant

from app.api.errors import shown_problems

Document = dict[str, Any]
PLACES = ("path", "query", "header", "cookie")
INVALID_TEXTS = ("x", "0", "\x00")
"""The values that are tried in each parameter, in this order."""
INVALID_BODIES: tuple[dict[str, Any], ...] = ({}, {"unknown": "x"})
"""The bodies that are tried, in this order."""
_UNKNOWN = object()


def resolve(schema: Document, schemas: Mapping[str, Document]) -> Document:
    """The schema that a `$ref` refers to."""
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema


def description(schema: Document, schemas: Mapping[str, Document]) -> str:
    """The schema's own examples, or those of each of its variants."""
    variants = (resolve(variant, schemas) for variant in schema.get("anyOf", [schema]))
    return " ".join(variant["description"] for variant in variants if "description" in variant)


def _composed(schema: Document, schemas: Mapping[str, Document]) -> Any:
    if schema.get("type") == "array":
        item = _example(schema["items"], schemas)
        return _UNKNOWN if item is _UNKNOWN else [item]
    if "properties" in schema:
        values = {name: _example(part, schemas) for name, part in schema["properties"].items()}
        known = {name: value for name, value in values.items() if value is not _UNKNOWN}
        return known if known.keys() >= set(schema.get("required", ())) else _UNKNOWN
    return _UNKNOWN


def _example(schema: Document, schemas: Mapping[str, Document]) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return _example(resolve(schema, schemas), schemas)
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], schemas)
    return _composed(schema, schemas)


def _named_examples(variants: list[Document], schemas: Mapping[str, Document]) -> Iterator[tuple[str, Document]]:
    for variant in variants:
        if variant.get("type") == "null":
            yield "null", {"summary": "null", "value": None}
        else:
            resolved = resolve(variant, schemas)
            summary = resolved.get("description", "")
            yield resolved.get("title", "value"), {"summary": summary, "value": _example(variant, schemas)}


def add_example(content: Document, schemas: Mapping[str, Document]) -> None:
    """Completes a request's or response's content; what the endpoint gave stays."""
    if "example" in content or "examples" in content or "schema" not in content:
        return
    schema = content["schema"]
    if "anyOf" in schema:
        content["examples"] = dict(_named_examples(schema["anyOf"], schemas))
    elif (example := _example(schema, schemas)) is not _UNKNOWN:
        content["example"] = example


def _invalid_body(field: Any) -> list[Any]:
    tries = (field.validate(body, loc=("body",))[1] for body in INVALID_BODIES)
    return next((problems for problems in tries if problems), [])


def _invalid_parameters(dependant: Dependant) -> Iterator[Any]:
    for place in PLACES:
        for field in getattr(dependant, f"{place}_params"):
            if place != "path" and field.field_info.is_required():
                yield {"type": "missing", "loc": (place, field.alias), "msg": "Field required"}
            for text in INVALID_TEXTS:
                yield from field.validate(text, loc=(place, field.alias))[1][:1]


def invalid_request(dependants: Sequence[Dependant], body_field: Any) -> Document | None:
    """The response to a request with an invalid value; None where every value is valid.

    It is found by trying the values above with the validation of real requests.
    """
    problems = _invalid_body(body_field) if body_field else []
    problems = problems or list(chain.from_iterable(map(_invalid_parameters, dependants)))[:1]
    return {"detail": shown_problems(problems)} if problems else None
