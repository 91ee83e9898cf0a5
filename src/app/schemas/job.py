"""Background tasks in responses."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.core.queue.view import TaskStatus
from app.core.schemas import HasMore, ItemsPerPage, PageNumber, TotalCount

TASK_ID = Field(description="The task's id.", examples=["0-9f86d081884c7d659a2feaa0c55ad015"])


class Job(BaseModel):
    """A submitted task."""

    id: Annotated[str, TASK_ID]


class TaskRead(BaseModel):
    """A task. A field is `null` as long as its value is not known."""

    model_config = ConfigDict(from_attributes=True)

    job_id: Annotated[str, TASK_ID]
    status: Annotated[
        TaskStatus,
        Field(
            description=(
                "`deferred`: it waits for its time, or for the next try. `queued`: it waits for a worker. "
                "`in_progress`: it runs. `complete`: it succeeded. `failed`: it has failed and is not tried again."
            ),
            examples=["complete"],
        ),
    ]
    function: Annotated[
        str | None, Field(description="The function that the worker calls.", examples=["sample_background_task"])
    ]
    args: Annotated[list[Any] | None, Field(description="The function's positional arguments.", examples=[["hello"]])]
    kwargs: Annotated[dict[str, Any] | None, Field(description="The function's keyword arguments.", examples=[{}])]
    job_try: Annotated[
        int | None,
        Field(description="The number of tries: those that failed, and the current or last one.", examples=[1]),
    ]
    enqueue_time: Annotated[
        datetime | None, Field(description="The time of submission, in UTC.", examples=["2026-01-01T12:00:00Z"])
    ]
    score: Annotated[
        int | None,
        Field(description="The time when an unfinished task is due, in milliseconds since 1970.", examples=[None]),
    ]
    start_time: Annotated[
        datetime | None, Field(description="The start of the last try, in UTC.", examples=["2026-01-01T12:00:01Z"])
    ]
    finish_time: Annotated[
        datetime | None, Field(description="The end of the last try, in UTC.", examples=["2026-01-01T12:00:06Z"])
    ]
    success: Annotated[bool | None, Field(description="Whether the task succeeded.", examples=[True])]
    result: Annotated[
        Any,
        Field(
            description="The return value; for a failed task, the type and the message of the error.",
            examples=["Task hello is complete!"],
        ),
    ]
    queue_name: Annotated[str | None, Field(description="The queue of the task.", examples=["arq:queue"])]


class RecentTaskRead(TaskRead):
    """A task in a list."""

    duration_seconds: Annotated[float | None, Field(description="The duration of the last try.", examples=[5.0])]


class TaskOverview(BaseModel):
    """The queue: its length, the running tasks, and a page of recent results, failures first, then newest first.

    Before a task is in the queue, it may wait in the database (the outbox).
    """

    queue_length: Annotated[
        int, Field(description="The number of unfinished tasks, the running ones included.", examples=[1])
    ]
    outbox_length: Annotated[
        int,
        Field(
            description="The number of tasks that are committed and not in the queue yet, counted up to 10,000.",
            examples=[0],
        ),
    ]
    refused: Annotated[
        list[RecentTaskRead],
        Field(description="The tasks that Redis has refused, with the reason as `result`. They are sent again."),
    ]
    in_progress: Annotated[list[RecentTaskRead], Field(description="The running tasks.")]
    data: Annotated[list[RecentTaskRead], Field(description="The finished tasks of this page.")]
    total_count: TotalCount
    has_more: HasMore
    page: PageNumber
    items_per_page: ItemsPerPage
