from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.core.queue.view import TaskStatus


class Job(BaseModel):
    """A submitted task."""

    id: str


class TaskRead(BaseModel):
    """A task: what was asked for, and what is known of it so far."""

    model_config = ConfigDict(from_attributes=True)

    job_id: str
    status: TaskStatus
    function: str | None
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    job_try: Annotated[int | None, Field(description="runs that ended in an error count, and the one that is on")]
    enqueue_time: datetime | None
    score: Annotated[int | None, Field(description="when it is due, in milliseconds since 1970")]
    start_time: datetime | None
    finish_time: datetime | None
    success: bool | None
    result: Annotated[Any, Field(description="of a failed task the error's type and message")]
    queue_name: str | None


class RecentTaskRead(TaskRead):
    """A task in a list."""

    duration_seconds: Annotated[float | None, Field(description="of the last try")]


class TaskOverview(BaseModel):
    """The queue, the running tasks, and a page of recent results, failures first and then newest first."""

    queue_length: Annotated[int, Field(description="waiting and running tasks")]
    in_progress: list[RecentTaskRead]
    data: list[RecentTaskRead]
    total_count: int
    has_more: bool
    page: int
    items_per_page: int
