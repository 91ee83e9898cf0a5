"""A process that submits tasks, and is killed at a step: `python -m tests.support.outbox_process STEP NUMBER`."""

import asyncio
import os
import signal
import sys
from typing import Any

from app.core.config import settings
from app.core.outbox.delivery import Delivery
from app.core.utils.queue import enqueue
from tests.support import outbox

STEPS = ("before the commit", "between the commit and the relay", "between the delivery and the deletion")


def kill_this_process(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def submit(step: str, number: int) -> None:
    async with outbox.process(settings) as process:
        if step == STEPS[2]:
            Delivery._settle = kill_this_process  # type: ignore[assignment,method-assign]
        async with outbox.database_of(process).sessions() as db:
            await enqueue(db, "note", number)
            if step == STEPS[0]:
                kill_this_process()
            if step == STEPS[1]:
                outbox.outbox_of(process)._relay.add_uncertain = kill_this_process  # type: ignore[method-assign,assignment]
            await db.commit()
        await asyncio.sleep(20)


if __name__ == "__main__":
    asyncio.run(submit(sys.argv[1], int(sys.argv[2])))
