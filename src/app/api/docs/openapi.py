"""The OpenAPI document: FastAPI's, completed with every status that an operation can return, and with examples."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from app.api.docs.examples import Document, add_example, description, invalid_request
from app.api.docs.tags import TAGS
from app.api.responses import REFERENCE, ErrorCase, raised_by, reference, unavailable
from app.core.schemas import ErrorDetail, InvalidRequest

_JSON = "application/json"
_OF_FASTAPI = "Successful Response"
INVALID_BODY = ErrorCase(HTTPStatus.BAD_REQUEST, "There was an error parsing the body", "The body cannot be decoded.")
INVALID_FORM = ErrorCase(HTTPStatus.BAD_REQUEST, "Missing boundary in multipart.", "The form cannot be decoded.")
LARGE_BODY = ErrorCase(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Content Too Large", "The body is too large.")
SERVICE_UNAVAILABLE = unavailable("Service unavailable, try again.", "The database or Redis is unavailable.")
_RETRY_AFTER = {"description": "Seconds to wait before the next request.", "schema": {"type": "integer"}, "example": 1}
_CHALLENGE = {"description": "How to authenticate (RFC 6750).", "schema": {"type": "string"}, "example": "Bearer"}
_HEADERS = {
    "401": {"WWW-Authenticate": _CHALLENGE},
    "429": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}


def operation_id(route: APIRoute) -> str:
    """The endpoint's name, which generated clients use as the name of a method."""
    return route.name


def _walk(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for dependency in dependant.dependencies:
        yield from _walk(dependency)


def _add_error(responses: Document, case: ErrorCase) -> None:
    content = responses.setdefault(str(case.status.value), {}).setdefault("content", {}).setdefault(_JSON, {})
    content["schema"] = case.schema
    content["examples"] = content.get("examples", {}) | case.examples


def _add_errors(operation: Document, dependants: Sequence[Dependant]) -> None:
    responses = operation["responses"]
    cases = [case for dependant in dependants for case in raised_by(dependant.call)]
    if "requestBody" in operation:
        is_json = _JSON in operation["requestBody"]["content"]
        cases += [INVALID_BODY if is_json else INVALID_FORM, LARGE_BODY]
    if len(dependants) > 1:
        cases.append(SERVICE_UNAVAILABLE)
    for case in cases:
        _add_error(responses, case)


def _add_invalid_request(responses: Document, example: Document | None) -> None:
    """FastAPI lists 422 for each operation with a parameter, whether or not there is an invalid value."""
    content = responses.pop("422", {}).get("content", {}).get(_JSON, {})
    examples = content.get("examples", {})
    if example:
        examples = {"invalid_value": {"summary": "A value is missing or invalid.", "value": example}} | examples
    if examples:
        responses["422"] = {"content": {_JSON: {"schema": reference(InvalidRequest), "examples": examples}}}


def _describe(responses: Document, schemas: Document) -> None:
    for status, response in responses.items():
        content = response.get("content", {}).get(_JSON, {})
        if status in _HEADERS:
            response["headers"] = _HEADERS[status] | response.get("headers", {})
        reasons = [example["summary"] for example in content.get("examples", {}).values() if "summary" in example]
        if status >= "400" and reasons:
            response["description"] = " ".join(reasons)
        elif response["description"] == _OF_FASTAPI:
            response["description"] = description(content.get("schema", {}), schemas) or HTTPStatus(int(status)).phrase


def _complete_parameter(parameter: Document) -> None:
    """What is optional may be left out; nothing in a URL or a header can be null, as FastAPI's schema has it."""
    schema = parameter["schema"]
    variants = [variant for variant in schema.get("anyOf", ()) if variant != {"type": "null"}]
    if len(variants) == 1:
        del schema["anyOf"]
        schema |= variants[0]
    if parameter["required"] and "examples" in schema:
        parameter["example"] = schema["examples"][0]  # Swagger UI fills it in


def _complete(operation: Document, context: RouteContext, schemas: Document) -> None:
    dependants = list(_walk(context.dependant))
    responses = operation["responses"]
    _add_errors(operation, dependants)
    _add_invalid_request(responses, invalid_request(dependants, context.body_field))
    _describe(responses, schemas)
    operation["responses"] = dict(sorted(responses.items()))
    if "security" in operation and "401" not in responses:
        operation["security"] = [{}, *operation["security"]]  # an access token may be sent, but need not be
    for holder in (operation.get("requestBody", {}), *responses.values()):
        for content in holder.get("content", {}).values():
            add_example(content, schemas)
    for parameter in operation.get("parameters", ()):
        _complete_parameter(parameter)


def _operations(document: Document, app: FastAPI) -> Iterator[tuple[Document, RouteContext]]:
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            for method in context.methods or ():
                yield document["paths"][context.path_format][method.lower()], context


def _add_schemas(schemas: Document) -> None:
    for model in (ErrorDetail, InvalidRequest):
        definition = model.model_json_schema(ref_template=REFERENCE)
        schemas |= definition.pop("$defs", {})
        schemas[model.__name__] = definition
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def complete(document: Document, app: FastAPI) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _add_schemas(schemas)
    used: dict[str, str] = {}
    for operation, context in _operations(document, app):
        _complete(operation, context, schemas)
        used |= {tag: _module_summary(context) for tag in operation.get("tags", ()) if tag not in used}
    document["tags"] = _tags(document.get("tags", []), used)


def _module_summary(context: RouteContext) -> str:
    """The first paragraph of the docstring of the file that has the endpoint."""
    return (inspect.getdoc(inspect.getmodule(context.endpoint)) or "").partition("\n\n")[0]


def _tags(listed: list[Document], used: dict[str, str]) -> list[Document]:
    """The listed tags that are in use, and before the last of them the others with their modules' summaries."""
    shown = [tag for tag in listed if tag["name"] in used]
    others = used.keys() - {tag["name"] for tag in listed}
    return [*shown[:-1], *({"name": name, "description": used[name]} for name in sorted(others)), *shown[-1:]]


@dataclass(frozen=True, slots=True)
class DocsPaths:
    """The paths of the document and the pages, named as `FastAPI` names them; None for a page that is not wanted."""

    openapi_url: str | None = "/openapi.json"
    docs_url: str | None = "/docs"
    redoc_url: str | None = "/redoc"


class Application(FastAPI):
    """FastAPI with the document above, and without FastAPI's own pages, which everyone may read."""

    def __init__(self, **options: Any) -> None:
        names = DocsPaths.__dataclass_fields__.keys()
        self.docs_paths = DocsPaths(**{name: path for name, path in options.items() if name in names})
        defaults: dict[str, Any] = {"generate_unique_id_function": operation_id, "openapi_tags": TAGS}
        super().__init__(**defaults | options | dict.fromkeys(names))

    def openapi(self) -> Document:
        if self.openapi_schema is None:
            complete(super().openapi(), self)
        return super().openapi()
