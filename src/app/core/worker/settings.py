"""What `arq app.core.worker.settings.WorkerSettings` runs."""

from typing import ClassVar

from app.core.config import settings
from app.core.worker.functions import purge_token_blacklist, sample_background_task, send_welcome
from app.core.worker.runtime.reliable import ReliableWorker, scheduled


class WorkerSettings(ReliableWorker, settings=settings):
    functions: ClassVar = [sample_background_task, send_welcome]
    cron_jobs: ClassVar = [scheduled(purge_token_blacklist, minute=17)]
