"""What the OpenAPI document promises is what the application does."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from app.api import router
from tests.helper import API, Rows


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_operation_documents_its_errors(application: FastAPI) -> None:
    document = application.openapi()
    for method, path, operation in operations(document):
        responses = operation["responses"]
        name = f"{method} {path}"
        if operation.get("security") and path not in {f"{API}/tasks/task", f"{API}/tasks/task/{{task_id}}"}:
            assert "401" in responses, name
        if "{" in path and path != f"{API}/user/me/":
            assert "404" in responses, name
        if path != f"{API}/health":
            assert "503" in responses, name
        for status, response in responses.items():
            if status >= "400":
                assert response["content"]["application/json"]["schema"], f"{name} {status}"


def test_a_422_is_a_list_or_one_text(application: FastAPI) -> None:
    document = application.openapi()
    create_user = document["paths"][f"{API}/user"]["post"]["responses"]["422"]
    schema = create_user["content"]["application/json"]["schema"]
    detail = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]["detail"]

    assert {variant["type"] for variant in detail["anyOf"]} == {"array", "string"}


CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = 8


@pytest.fixture(scope="session")
def document(server: str) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{server}/openapi.json")


@pytest.fixture
async def fuzzing_token(rows: Rows) -> str:
    root = await rows.superuser()
    return root.headers["Authorization"].removeprefix("Bearer ")


OPERATIONS = sorted(
    (context.path or "", method)
    for context in iter_route_contexts(router.routes)
    for method in context.methods or ()
    if context.include_in_schema
)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_generated_requests_get_documented_responses(
    document: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode, fuzzing_token: str
) -> None:
    """Valid and invalid requests of a superuser: no 500, no undocumented status, no response of another shape."""

    operation = document[path][method]

    @hypothesis_settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def fuzz(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {fuzzing_token}"}, checks=CHECKS)

    # Where any text will do there is no invalid request.
    with contextlib.suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else contextlib.nullcontext():
        fuzz()
