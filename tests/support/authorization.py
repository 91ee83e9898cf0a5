"""Who may do what: each entity's test file has a table of its operations, `tests/test_authorization.py` tests them all.

async def arrange(client: httpx.AsyncClient, rows: Rows, owner: Account) -> PathValues:
    created = await client.post(f"{API}/entity", headers=owner.headers, json={"name": "First"})
    return {"id": created.json()["id"]}

AUTHORIZATION = may.Table(
    may.anyone("GET", "/entities/{id}"),
    may.superuser("PATCH", "/entities/{id}", json={"note": "Changed."}),
    arrange=arrange,
)
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import httpx

from tests.helper import Account, Rows
from tests.support.readme import ROOT

PathValues = Mapping[str, object]
"""The values of the paths' placeholders."""
Arrange = Callable[[httpx.AsyncClient, Rows, Account], Awaitable[PathValues]]
"""Stores what the operations act on; the account is the owner's."""

_DEFINITION = re.compile(r"^AUTHORIZATION = ", re.MULTILINE)


@dataclass(frozen=True)
class Rule:
    """An operation, and the status that each role gets; `revoked` is for a deleted user and a revoked token."""

    method: str
    path: str
    anonymous: int
    stranger: int
    owner: int
    superuser: int
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def revoked(self) -> int:
        return self.anonymous

    def status(self, role: str) -> int:
        return int(getattr(self, role, self.revoked))

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def anyone(method: str, path: str, status: int = 200, **body: Any) -> Rule:
    return Rule(method, path, status, status, status, status, body)


def user(method: str, path: str, status: int = 200, **body: Any) -> Rule:
    return Rule(method, path, 401, status, status, status, body)


def owner(method: str, path: str, status: int = 200, **body: Any) -> Rule:
    return Rule(method, path, 401, 403, status, 403, body)


def superuser(method: str, path: str, status: int = 200, **body: Any) -> Rule:
    return Rule(method, path, 401, 403, 403, status, body)


async def _arrange_nothing(client: httpx.AsyncClient, rows: Rows, owner: Account) -> PathValues:
    return {"username": owner.username}


class Table:
    """The operations of one test file, and what they need."""

    def __init__(self, *rules: Rule, arrange: Arrange = _arrange_nothing) -> None:
        self.rules = rules
        self.arrange = arrange


def tables() -> Iterator[Table]:
    """The `AUTHORIZATION` of every test file that has one."""
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        if _DEFINITION.search(path.read_text(encoding="utf-8")):
            yield import_module(f"tests.{path.stem}").AUTHORIZATION
