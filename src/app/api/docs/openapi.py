"""The OpenAPI document, with every status that an operation can answer."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from app.core.schemas import ErrorDetail, InvalidRequest

Document = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"


def _answer(status: HTTPStatus, model: str) -> Document:
    schema = {"$ref": _REFERENCE.format(model=model)}
    return {"description": status.phrase, "content": {"application/json": {"schema": schema}}}


def _operations(document: Document) -> Iterator[Document]:
    for methods in document.get("paths", {}).values():
        yield from methods.values()


def describe_errors(document: Document) -> None:
    """Adds what the framework and the middleware can answer to any operation of that form."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (ErrorDetail, InvalidRequest):
        definition = model.model_json_schema(ref_template=_REFERENCE)
        schemas |= definition.pop("$defs", {})
        schemas[model.__name__] = definition
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operation in _operations(document):
        answers = operation["responses"]
        statuses = [HTTPStatus.SERVICE_UNAVAILABLE]
        if "requestBody" in operation:
            statuses += [HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
        for status in statuses:
            answers.setdefault(str(status.value), _answer(status, ErrorDetail.__name__))
        if "422" in answers:
            answers["422"] = _answer(HTTPStatus.UNPROCESSABLE_ENTITY, InvalidRequest.__name__)


class Application(FastAPI):
    """FastAPI with the document above."""

    def openapi(self) -> Document:
        if self.openapi_schema is None:
            describe_errors(super().openapi())
        return super().openapi()
