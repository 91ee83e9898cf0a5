"""The README's chapter on background tasks, followed word by word in a copy of the project."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from app.core.worker.runtime.reliable import scheduled
from tests.conftest import Services
from tests.helper import Rows
from tests.support.readme import blocks, copy_project

TITLE = "5.10 ARQ Job Queues"
VISIT = """
import asyncio, httpx
from arq.worker import create_worker
from app.core.config import settings
from app.core.worker.settings import WorkerSettings
from app.main import app
from tests.helper import Rows

async def main():
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="https://x") as client:
        user = await Rows(app.state.resources.database, settings).user()
        made = await client.post("/api/v1/count?greeting=Hello", headers=user.headers)
        assert made.status_code == 201, made.text
        worker = create_worker(WorkerSettings, burst=True)
        await worker.async_run()
        await worker.close()
        path = f"/api/v1/tasks/task/{made.json()['id']}"
        assert (await client.get(path)).status_code == 404
        task = (await client.get(path, headers=user.headers)).json()
        assert (task["status"], task["result"]) == ("complete", "Hello, 1 users!"), task

asyncio.run(main())
"""


def test_a_task_from_the_function_to_the_endpoint(services: Services, rows: Rows, tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    for block in blocks(TITLE, "python"):
        name, _, _ = block.removeprefix("# ").partition("\n")
        path = project / name
        replaces = name.endswith("settings.py") or not path.exists()
        path.write_text(block if replaces else f"{path.read_text()}\n{block}")
    (project / "visit.py").write_text(VISIT)
    subprocess.run(
        [sys.executable, "visit.py"],
        cwd=project,
        env={**services.environment(), "PYTHONPATH": f"{project}{os.pathsep}{project / 'src'}"},
        check=True,
        timeout=30,
    )


def test_the_schedules() -> None:
    async def any_task(ctx: object) -> None: ...

    names: dict[str, Any] = dict.fromkeys(("purge_token_blacklist", "send_digest", "refresh_prices"), any_task)
    exec(blocks("5.10.2 Scheduled Tasks", "python")[0], names)  # noqa: S102 - the README's own code
    assert names["scheduled"] is scheduled
    assert len(names["cron_jobs"]) == 3
