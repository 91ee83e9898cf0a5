"""The OpenAPI document explains everything: each operation, parameter, field, response and tag."""

import json
import re

import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from app.api.docs import Application
from tests.support.openapi import OPERATIONS, read_document
from tests.support.openapi_texts import missing_texts


def test_everything_is_explained(application: FastAPI) -> None:
    missing = missing_texts(application)
    assert missing == [], "\n" + "\n".join(missing)


class Bare(BaseModel):
    size: int


async def read_bare(width: int, values: Bare) -> Bare:
    return values


def test_what_is_missing_is_named_with_its_place() -> None:
    router = APIRouter(tags=["bare"])
    router.add_api_route("/bare", read_bare, methods=["POST"])
    app = Application(title="Bare")
    app.include_router(router)

    missing = "\n".join(missing_texts(app))
    for line in (
        r"tests/test_openapi_texts.py:\d+ read_bare: no summary: write summary=",
        r"read_bare: the query parameter width has no sentence as description: write it in Annotated\[..., Query\(",
        r"read_bare: the query parameter width has no example",
        r"read_bare: the response 200 has no description: write a docstring in its schema",
        r"read_bare: the response 200 has no example",
        r"read_bare: the request body has no example",
        r"tests/test_openapi_texts.py:\d+ Bare: no sentence as description: write a docstring in the class",
        r"Bare.size has no sentence as description: write it in Annotated\[..., Field\(",
        r"Bare.size has no example",
    ):
        assert re.search(line, missing), line


def test_operation_ids_are_names_of_functions() -> None:
    ids = [operation.content["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in ids)


def test_health_is_the_last_tag() -> None:
    names = [tag["name"] for tag in read_document()["tags"]]
    assert names[:2] == ["login", "users"]
    assert names[-1] == "health"


@pytest.mark.parametrize("word", ["answer", "away", "mend", "dead", "kill", "asks", "nobody", "anybody", "somebody"])
def test_the_document_is_in_plain_technical_english(word: str) -> None:
    texts = re.findall(r'"(?:description|summary)": "([^"]*)"', json.dumps(read_document()))
    assert len(texts) > 500
    assert [text for text in texts if re.search(rf"\b{word}s?\b", text, re.IGNORECASE)] == []


def test_a_tag_is_described_by_the_file_of_its_endpoints() -> None:
    router = APIRouter()
    router.add_api_route("/bare", read_bare, methods=["POST"], tags=["bare"])
    router.add_api_route("/health", read_bare, tags=["health"], operation_id="read_health")
    app = Application(title="Bare")
    app.include_router(router)

    bare, health = app.openapi()["tags"]
    assert bare == {"name": "bare", "description": __doc__}
    assert health["name"] == "health"
