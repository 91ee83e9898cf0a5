from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel


class Job(BaseModel):
    """A submitted task."""

    id: str


class TaskStatus(StrEnum):
    """Where a task is on its way."""

    DEFERRED = "deferred"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"
    FAILED = "failed"


class TaskRead(BaseModel):
    """A task: what was asked for, and what is known of it so far."""

    job_id: str
    status: TaskStatus
    function: str | None
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    job_try: int | None
    enqueue_time: datetime | None
    score: int | None
    start_time: datetime | None
    finish_time: datetime | None
    success: bool | None
    result: Any
    queue_name: str | None
