import secrets
from typing import Annotated, Any

from arq.jobs import Job as ArqJob
from arq.jobs import JobDef, JobResult, JobStatus
from fastapi import APIRouter, Depends, Path

from app.api.dependencies import OptionalUser, TaskQueue, rate_limiter
from app.api.responses import errors
from app.core.exceptions.http_exceptions import NotFoundException
from app.schemas.job import Job, TaskRead, TaskStatus

router = APIRouter(prefix="/tasks", tags=["tasks"])


@router.post("/task", status_code=201, responses=errors(429, 503), dependencies=[Depends(rate_limiter)])
async def create_task(message: str, queue: TaskQueue, user: OptionalUser) -> Job:
    job_id = f"{user.id if user else 0}-{secrets.token_hex(16)}"
    await queue.enqueue_job("sample_background_task", message, _job_id=job_id)
    return Job(id=job_id)


@router.get("/task/{task_id}", responses=errors(404, 503))
async def get_task(task_id: Annotated[str, Path(max_length=100)], queue: TaskQueue, user: OptionalUser) -> TaskRead:
    owner_id = task_id.partition("-")[0]
    job = ArqJob(task_id, queue)
    status = await job.status()
    info = await job.info()
    if info is None or status is JobStatus.not_found:
        raise NotFoundException("Task not found")
    if owner_id != "0" and (user is None or (str(user.id) != owner_id and not user.is_superuser)):
        raise NotFoundException("Task not found")
    return _read(info, status)


def _shown_result(result: JobResult) -> Any:
    return f"{type(result.result).__name__}: {result.result}" if not result.success else result.result


def _read(info: JobDef, status: JobStatus) -> TaskRead:
    result = info if isinstance(info, JobResult) else None
    return TaskRead(
        job_id=info.job_id or "",
        status=TaskStatus.FAILED if result and not result.success else TaskStatus(status.value),
        function=info.function,
        args=list(info.args),
        kwargs=info.kwargs,
        job_try=info.job_try,
        enqueue_time=info.enqueue_time,
        score=info.score,
        start_time=result.start_time if result else None,
        finish_time=result.finish_time if result else None,
        success=result.success if result else None,
        result=_shown_result(result) if result else None,
        queue_name=result.queue_name if result else None,
    )
