"""What an operation can answer besides success, for its OpenAPI description."""

from http import HTTPStatus
from typing import Any

from app.core.schemas import ErrorDetail

Responses = dict[int | str, dict[str, Any]]


def errors(*statuses: HTTPStatus | int) -> Responses:
    """These statuses, each with a text in `detail`."""
    return {int(code): {"model": ErrorDetail, "description": HTTPStatus(code).phrase} for code in statuses}
