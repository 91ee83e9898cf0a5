"""What the OpenAPI document leaves unexplained, and where to write it."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel

from tests.support.readme import ROOT

Document = dict[str, Any]
TAGS_FILE = "src/app/api/docs/tags.py"


def _place(thing: Callable[..., Any] | type) -> str:
    """File and line, as an editor opens them."""
    original = inspect.unwrap(thing)
    file = Path(inspect.getsourcefile(original) or "")
    line = inspect.getsourcelines(original)[1]
    return f"{file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}:{line}"


def _models(base: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _place_of_schema(name: str) -> str:
    """The class of a schema; of a generic one the class before its parameters."""
    for model in _models():
        if model.__name__ == name and model.__module__.startswith(("app.", "tests.")):
            return _place(model)
    return "src/app/schemas"


def _is_sentence(text: object) -> bool:
    return isinstance(text, str) and text[:1] in {text[:1].upper(), "`"} and text.rstrip().endswith((".", "`"))


def _has_example(schema: Document) -> bool:
    """Its own, or those of the schemas that it is composed of."""
    return bool(schema.get("examples")) or "$ref" in schema or "$ref" in schema.get("items", {})


def _operation(operation: Document, route: APIRoute | RouteContext) -> Iterator[str]:
    endpoint = route.endpoint
    assert endpoint is not None
    at = f"{_place(endpoint)} {endpoint.__name__}"
    generated = endpoint.__name__.replace("_", " ").title()
    if operation["summary"] == generated:
        yield f'{at}: no summary: write summary="..." in the decorator, in plain words'
    if "description" in operation and not _is_sentence(operation["description"]):
        yield f"{at}: the docstring is shown in the docs: write whole sentences"
    if not operation.get("tags"):
        yield f'{at}: no tag: write tags=["..."] in its APIRouter'
    for parameter in operation.get("parameters", ()):
        yield from _parameter(f"{at}: the {parameter['in']} parameter {parameter['name']}", parameter)
    for status, response in operation["responses"].items():
        yield from _response(f"{at}: the response {status}", response)
    body = operation.get("requestBody", {}).get("content", {})
    if any("example" not in content and "examples" not in content for content in body.values()):
        yield f"{at}: the request body has no example: write one for each field of its schema"


def _parameter(what: str, parameter: Document) -> Iterator[str]:
    how = f"write it in Annotated[..., {parameter['in'].title()}(description=..., examples=[...])]"
    if not _is_sentence(parameter.get("description")):
        yield f"{what} has no sentence as description: {how}"
    if not parameter["schema"].get("examples"):
        yield f"{what} has no example: {how}"


def _response(what: str, response: Document) -> Iterator[str]:
    if response["description"] in {"Successful Response", "OK", "Created"}:
        yield f"{what} has no description: write a docstring in its schema, or response_description= in the decorator"
    for content in response.get("content", {}).values():
        if "example" not in content and "examples" not in content:
            yield f"{what} has no example: write one for each field of its schema, or message(...), errors(...)"


def _schema(name: str, schema: Document) -> Iterator[str]:
    at = f"{_place_of_schema(schema.get('title', name).partition('[')[0])} {name}"
    if not _is_sentence(schema.get("description")):
        yield f"{at}: no sentence as description: write a docstring in the class"
    for field, part in schema.get("properties", {}).items():
        how = "write it in Annotated[..., Field(description=..., examples=[...])]"
        if not _is_sentence(part.get("description")):
            yield f"{at}.{field} has no sentence as description: {how}"
        if not _has_example(part):
            yield f"{at}.{field} has no example: {how}"


def missing_texts(app: FastAPI) -> list[str]:
    document = app.openapi()
    missing: list[str] = []
    described = {tag["name"] for tag in document.get("tags", ()) if _is_sentence(tag.get("description"))}
    used: set[str] = set()
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema and route.path_format:
            for method in route.methods or ():
                operation = document["paths"][route.path_format][method.lower()]
                missing += _operation(operation, route)
                used |= set(operation.get("tags", ()))
    for tag in sorted(used - described):
        missing.append(f"{TAGS_FILE}: the tag {tag!r} has no description: start its router's file with a docstring")
    for name, schema in document["components"]["schemas"].items():
        missing += _schema(name, schema)
    return missing
