"""Runs the code of the README's chapter on rate limits."""

import json
import re
from pathlib import Path

import httpx
from fastapi import APIRouter

from app.core.limits.script import HISTORY_ENTRIES, HISTORY_SECONDS
from app.core.setup import create_application
from tests.conftest import Services
from tests.helper import API, PASSWORD, Rows
from tests.support.readme import blocks, chapter
from tests.test_readme import shell

RULES = "5.11.1 Tiers and rules"


async def test_the_limited_route(services: Services, rows: Rows) -> None:
    scope: dict[str, APIRouter] = {}
    exec(blocks("5.11 Rate Limiting", "python")[0], scope)  # noqa: S102 - the README's own code
    app = create_application(router=scope["router"], settings=services.settings())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        responses = [await client.post("/reports/report", params={"message": "x"}) for _ in range(11)]
    assert [response.status_code for response in responses] == [201] * 10 + [429]
    body = re.search(r"body is `(.*)`", chapter("5.11 Rate Limiting"))
    assert body
    assert responses[10].json() == json.loads(body[1])
    for header in re.findall(r"^\| `([\w-]+)` \|", chapter("5.11 Rate Limiting"), re.MULTILINE):
        assert header in responses[10].headers


async def test_the_tiers_and_rules(server: str, rows: Rows, tmp_path: Path) -> None:
    """The responses are those that the chapter shows."""
    root = await rows.superuser()
    first = blocks("4.5 First steps", "sh")
    register = next(line for line in first[1].splitlines() if line.startswith("curl") and "/user" in line)
    start = f"{first[0]}\n{register}\necho\n".replace("http://127.0.0.1:8000/api/v1", f"{server}{API}")
    script = start + "\n".join(re.sub(r"(?m)^curl [^|\n]*$", r"\g<0>; echo", block) for block in blocks(RULES, "sh"))
    environment = {"ADMIN_USERNAME": root.username, "ADMIN_PASSWORD": PASSWORD}
    status, output = await shell(script, tmp_path, environment)

    assert status == 0, output
    responses = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert responses[-2] == json.loads(blocks(RULES, "json")[0])
    assert responses[-1] == {"message": "User User Userson Tier updated"}
    headers = [line.strip() for line in output.splitlines() if line.startswith("ratelimit")]
    assert headers == blocks(RULES, "")[0].split("\n")[:-1]


def test_the_sizes_that_the_chapter_names() -> None:
    assert HISTORY_SECONDS == 3600, "an hour"
    assert f"or {HISTORY_ENTRIES}, if that is more" in chapter("5.11.3 Costs")
