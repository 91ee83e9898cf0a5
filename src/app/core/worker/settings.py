"""What `arq app.core.worker.settings.WorkerSettings` runs."""

from typing import ClassVar

from app.core.config import settings
from app.core.utils.queue import redis_settings
from app.core.worker.functions import sample_background_task


class WorkerSettings:
    functions: ClassVar = [sample_background_task]
    redis_settings = redis_settings(settings)
    job_timeout = settings.TASK_TIMEOUT_SECONDS
    keep_result = settings.TASK_RESULT_TTL_SECONDS
    max_tries = settings.TASK_MAX_TRIES
    health_check_interval = 30
    handle_signals = True
