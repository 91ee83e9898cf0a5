"""The HTTP errors that an endpoint may raise; each response has the shape `{"detail": ...}`."""

from http import HTTPStatus

from fastapi import HTTPException


class CustomException(HTTPException):
    """500 by default; the base of the errors below, which only fix the status."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(
        self,
        detail: str | None = None,
        *,
        status_code: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        code = HTTPStatus(status_code or self.status)
        super().__init__(status_code=code.value, detail=detail or code.phrase, headers=headers)


class BadRequestException(CustomException):
    """400"""

    status = HTTPStatus.BAD_REQUEST


class UnauthorizedException(CustomException):
    """401, with the challenge that RFC 6750 requires."""

    status = HTTPStatus.UNAUTHORIZED

    def __init__(self, detail: str | None = None, *, challenge: str = "Bearer") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class ForbiddenException(CustomException):
    """403"""

    status = HTTPStatus.FORBIDDEN


class NotFoundException(CustomException):
    """404"""

    status = HTTPStatus.NOT_FOUND


class UnprocessableEntityException(CustomException):
    """422"""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class DuplicateValueException(UnprocessableEntityException):
    """422: the value is taken."""


class RateLimitException(CustomException):
    """429"""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, detail: str | None = None, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail or "Rate limit exceeded.", headers=headers)


class ServiceUnavailableException(CustomException):
    """503: a service that the request needs is unavailable; the client may retry after `retry_after` seconds."""

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, detail: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})
