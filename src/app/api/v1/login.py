from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, Form, Response
from pydantic import BaseModel, Field

from app.api.address_limits import limit_login
from app.api.authentication import Passwords
from app.api.dependencies import Crypt, Db, Events
from app.api.responses import errors, unauthorized
from app.core.config import CryptSettings
from app.core.db.crud_token_blacklist import crud_token_blacklist
from app.core.exceptions.http_exceptions import UnauthorizedException
from app.core.schemas import EXAMPLE_TOKEN, Token
from app.core.security import TokenType, create_token, decode_token, new_family, successor_jti
from app.crud.crud_users import crud_users

router = APIRouter(tags=["login"])

REFRESH_TOKEN_COOKIE = "refresh_token"  # noqa: S105 - a name, not a secret
RefreshTokenCookie = Annotated[
    str | None,
    Cookie(alias=REFRESH_TOKEN_COOKIE, description="Set by the login; browsers send it.", examples=[EXAMPLE_TOKEN]),
]
WRONG_CREDENTIALS = unauthorized("Wrong username, email or password.", "The credentials are wrong.")
NO_REFRESH_TOKEN = unauthorized("Refresh token missing.", "The request has no refresh token.")
INVALID_REFRESH_TOKEN = unauthorized(
    "Invalid refresh token.", "The refresh token is invalid, expired, revoked or already used."
)


class Credentials(BaseModel):
    """The form of the OAuth 2.0 password flow; its other fields are ignored."""

    grant_type: Annotated[
        str | None, Field(pattern="^password$", description="`password`, or left out.", examples=["password"])
    ] = None
    username: Annotated[str, Field(description="The username or the email address.", examples=["userson"])]
    password: Annotated[str, Field(description="The password.", examples=["Str1ngst!"], repr=False)]


LoginForm = Annotated[Credentials, Form()]


def issue_tokens(
    response: Response, subject: UUID, family: str, settings: CryptSettings, refresh_jti: str | None = None
) -> Token:
    """A pair of tokens of the family: one in the response's body, one in its cookie."""
    response.set_cookie(
        REFRESH_TOKEN_COOKIE,
        create_token(subject, TokenType.REFRESH, family, settings, refresh_jti),
        max_age=int(timedelta(days=settings.REFRESH_TOKEN_EXPIRE_DAYS).total_seconds()),
        httponly=True,
        secure=settings.REFRESH_TOKEN_COOKIE_SECURE,
        samesite=settings.REFRESH_TOKEN_COOKIE_SAMESITE,
    )
    response.headers["Cache-Control"] = "private, no-store"
    return Token(access_token=create_token(subject, TokenType.ACCESS, family, settings), token_type="bearer")  # noqa: S106


@router.post("/login", summary="Log in", responses=errors(WRONG_CREDENTIALS), dependencies=[Depends(limit_login)])
async def login_for_access_token(
    response: Response, form: LoginForm, db: Db, passwords: Passwords, settings: Crypt
) -> Token:
    """Returns an access token, and sets the cookie `refresh_token` to a refresh token.

    After repeated failures the user is locked out from this address for some minutes.
    """
    credentials = await passwords.credentials(db, form.username, form.password)
    if credentials is None:
        raise UnauthorizedException("Wrong username, email or password.")
    return issue_tokens(response, credentials.user.uuid, new_family(credentials.hashed_password), settings)


@router.post("/refresh", summary="Renew the access token", responses=errors(NO_REFRESH_TOKEN, INVALID_REFRESH_TOKEN))
async def refresh_access_token(
    response: Response, db: Db, settings: Crypt, events: Events, refresh_token: RefreshTokenCookie = None
) -> Token:
    """Takes the refresh token from the cookie, returns a new access token and sets a new refresh token.

    A refresh token is valid once. Using it again ends the session, because it may have been stolen.
    """
    if refresh_token is None:
        raise UnauthorizedException("Refresh token missing.")
    claims = decode_token(refresh_token, TokenType.REFRESH, settings)
    user = await crud_users.read_by_session(db, claims) if claims else None
    if claims is None or user is None:
        raise UnauthorizedException("Invalid refresh token.")
    since_first_use = await crud_token_blacklist.retire(db, claims)
    if since_first_use is None:
        jti = successor_jti(claims.jti, settings)
    # Of two concurrent statements the second may have begun first, so without a grace period every reuse is refused.
    elif (grace := settings.REFRESH_TOKEN_REUSE_GRACE_SECONDS) and since_first_use <= timedelta(seconds=grace):
        jti = await crud_token_blacklist.newest_successor(db, claims, settings)
    else:
        await crud_token_blacklist.end_families(db, {claims.family}, settings, claims)
        events.session_revoked("reuse")
        raise UnauthorizedException("Invalid refresh token.")
    return issue_tokens(response, user.uuid, claims.family, settings, jti)
