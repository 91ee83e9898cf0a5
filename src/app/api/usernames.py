"""Usernames that would be mistaken for a part of a route."""

from fastapi import Request

from app.core.exceptions.http_exceptions import DuplicateValueException


def refuse_reserved(request: Request, username: str) -> None:
    """Raises 422 if a route needs the name."""
    reserved: frozenset[str] = request.app.state.reserved_usernames
    if username in reserved:
        raise DuplicateValueException("Username not available")
