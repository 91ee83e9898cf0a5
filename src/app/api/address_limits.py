"""The limits of logins and registrations, per address, and how any request is counted."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from fastapi import Request

from app.api.responses import NOT_COUNTED, RATE_LIMITED, raises
from app.core.config import DefaultRateLimitSettings
from app.core.exceptions.http_exceptions import RateLimitException, ServiceUnavailableException
from app.core.resources import resources_of
from app.core.utils.rate_limit import Admission, Limit, RateLimiterUnavailableError
from app.middleware.rate_limit_headers import STATE_KEY

IPV6_PREFIX = 64
"""The smallest network that an IPv6 customer gets; its addresses can be changed at will."""


def limited_address(request: Request) -> str:
    """The client's address, or for IPv6 its network: what shares one limit."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((address, IPV6_PREFIX), strict=False))
    return str(address)


@raises(RATE_LIMITED, NOT_COUNTED)
async def limit_login(request: Request) -> None:
    """Limits the logins from one address, right or wrong, besides the lock on each account."""
    settings = resources_of(request.app).settings
    if isinstance(settings, DefaultRateLimitSettings):
        limit = Limit(settings.LOGIN_RATE_LIMIT_LIMIT, settings.LOGIN_RATE_LIMIT_PERIOD)
        await _limit_address(request, "login", limit)


@raises(RATE_LIMITED, NOT_COUNTED)
async def limit_registration(request: Request) -> None:
    """Limits the registrations from one address."""
    settings = resources_of(request.app).settings
    if isinstance(settings, DefaultRateLimitSettings):
        limit = Limit(settings.REGISTRATION_RATE_LIMIT_LIMIT, settings.REGISTRATION_RATE_LIMIT_PERIOD)
        await _limit_address(request, "registration", limit)


async def _limit_address(request: Request, purpose: str, limit: Limit) -> None:
    admission = await count_request(request, f"{purpose}:{limited_address(request)}", limit)
    if admission and not admission.admitted:
        raise RateLimitException


async def count_request(request: Request, key: str, limit: Limit, *, with_notice: bool = False) -> Admission | None:
    """The admission, whose headers the response gets; None where nothing is counted."""
    limiter = resources_of(request.app).rate_limiter
    if limiter is None:
        return None
    try:
        admission = await limiter.admit(key, limit, with_notice=with_notice)
    except RateLimiterUnavailableError:
        raise ServiceUnavailableException(NOT_COUNTED.detail) from None
    if admission:
        setattr(request.state, STATE_KEY, admission.headers)
    return admission
