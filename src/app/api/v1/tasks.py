import hashlib
import hmac
import json
import re
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request

from app.api.dependencies import SUPERUSERS_ONLY, Crypt, OpenResources, OptionalUser, TaskQueue, rate_limiter
from app.api.responses import TASK_NOT_FOUND, errors, raises, unprocessable
from app.core.config import RedisQueueSettings
from app.core.exceptions.http_exceptions import NotFoundException, UnprocessableEntityException
from app.core.outbox import find_task, read_outbox
from app.core.queue.view import TaskState, read_recent, read_running, read_task
from app.core.resources import resources_of
from app.core.schemas import MAX_INT32, Text
from app.crud.crud_users import StoredUser
from app.schemas.job import TASK_ID, Job, TaskOverview, TaskRead

router = APIRouter(prefix="/tasks", tags=["tasks"])

_OWNER = re.compile(r"(?P<new>[0-9]+)-[0-9a-f]{32}|user:(?P<own>[0-9]+):.+", re.DOTALL)
_UNGUESSABLE = re.compile(r"(0-)?[0-9a-f]{32}")
KEY_REUSED = unprocessable(
    "The idempotency key was used for another request", "The idempotency key was sent with another message."
)


async def get_new_task_id(
    request: Request,
    user: OptionalUser,
    settings: Crypt,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="A repeated request with the same key submits no second task.",
            examples=["4f1c6a2e"],
        ),
    ] = None,
) -> str:
    """`<user's id, or 0 for an anonymous caller>-<128 bits>`: the id shows who may read the task.

    With an idempotency key the bits follow from the key and its sender, by a secret of this application.
    """
    if idempotency_key is None:
        return f"{user.id if user else 0}-{secrets.token_hex(16)}"
    sender = str(user.uuid) if user else request.client.host if request.client else ""
    # As a list in JSON: the parts may contain any separator, an IPv6 address for one.
    message = json.dumps(["task", request.url.path, sender, idempotency_key]).encode()
    return f"{user.id if user else 0}-{hmac.digest(settings.SECRET_KEY.encode(), message, hashlib.sha256).hex()[:32]}"


def _may_read(task_id: str, user: StoredUser | None) -> bool:
    """The owner rule, decided by the id alone: no caller may read a task whose id names no owner."""
    if (user and user.is_superuser) or _UNGUESSABLE.fullmatch(task_id):
        return True
    owner = _OWNER.fullmatch(task_id)
    return bool(owner and user and user.id == int(owner["new"] or owner["own"]))


@raises(TASK_NOT_FOUND)
async def get_path_task(
    task_id: Annotated[
        Text, Path(max_length=100, description="The `id` from the submission.", examples=TASK_ID.examples)
    ],
    queue: TaskQueue,
    resources: OpenResources,
    user: OptionalUser,
) -> TaskState:
    """The path's task; 404 if the caller may not read it."""
    task = await find_task(queue, resources.outbox, task_id)
    if task is None or not _may_read(task_id, user):
        raise NotFoundException("Task not found")
    return task


async def get_queue_settings(request: Request) -> RedisQueueSettings:
    return resources_of(request.app).settings_of(RedisQueueSettings)


TaskMessage = Annotated[str, Query(description="The argument of the task.", examples=["hello"])]
NewTaskId = Annotated[str, Depends(get_new_task_id)]
PathTask = Annotated[TaskState, Depends(get_path_task)]
QueueSettings = Annotated[RedisQueueSettings, Depends(get_queue_settings)]


@router.post(
    "/task",
    status_code=201,
    summary="Submit a task",
    responses=errors(KEY_REUSED),
    dependencies=[Depends(rate_limiter)],
)
async def create_task(message: TaskMessage, queue: TaskQueue, task_id: NewTaskId) -> Job:
    """A worker runs it at least once, also if servers or workers stop in between."""
    if await queue.enqueue_job("sample_background_task", message, _job_id=task_id) is None:
        earlier = await read_task(queue, task_id)
        if earlier and earlier.args != [message]:
            raise UnprocessableEntityException(KEY_REUSED.detail)
    return Job(id=task_id)


@router.get("/task/{task_id}", summary="Read a task")
async def get_task(task: PathTask) -> TaskRead:
    """For every caller who has its id; if a user submitted it, for that user and superusers."""
    return TaskRead.model_validate(task)


@router.get("", summary="Read the queue", response_model=TaskOverview, dependencies=[SUPERUSERS_ONLY])
async def get_tasks(
    queue: TaskQueue,
    resources: OpenResources,
    settings: QueueSettings,
    page: Annotated[
        int, Query(ge=1, le=MAX_INT32, description="The number of the page of results, from 1.", examples=[1])
    ] = 1,
    items_per_page: Annotated[
        int, Query(ge=1, le=100, description="The largest number of results on a page.", examples=[10])
    ] = 10,
) -> dict[str, Any]:
    """For superusers. The results of failed tasks come first, then the newest."""
    offset = (page - 1) * items_per_page
    queue_length, in_progress = await read_running(queue)
    recent = await read_recent(queue, offset, items_per_page, settings.TASK_RESULT_TTL_SECONDS)
    outbox = await read_outbox(resources.outbox)
    return {
        "queue_length": queue_length,
        "outbox_length": outbox.length,
        "refused": outbox.refused,
        "in_progress": in_progress,
        "data": recent.tasks,
        "total_count": recent.total_count,
        "has_more": offset + items_per_page < recent.total_count,
        "page": page,
        "items_per_page": items_per_page,
    }
