"""The settings of tasks that are submitted with a commit."""

from pydantic import PositiveFloat

from app.core.settings.base import SettingsBase
from app.core.settings.values import Bytes


class OutboxSettings(SettingsBase):
    """How soon a task that was left in the table `outbox` is sent to the queue (seconds), and how large a task may be.

    Needs the database and the queue.
    """

    OUTBOX_SWEEP_SECONDS: PositiveFloat = 1.0
    OUTBOX_LEASE_SECONDS: PositiveFloat = 10.0
    OUTBOX_MAX_TASK_BYTES: Bytes = 64 * 1024
