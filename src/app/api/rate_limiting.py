"""How a request is limited: in whose bucket it counts, and by which rule."""

import logging
import re
from collections.abc import Sequence
from difflib import get_close_matches
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Annotated

from fastapi import Depends, Request
from fastapi.routing import iter_route_contexts

from app.core.config import DefaultRateLimitSettings
from app.core.exceptions.http_exceptions import RateLimitException, ServiceUnavailableException
from app.core.settings_base import SettingsBase
from app.core.utils.rate_limit import Limit, RateLimiter, RateLimiterUnavailableError
from app.crud.crud_rate_limit import RulePaths, TierRule
from app.middleware.rate_limit_headers import STATE_KEY
from app.schemas.rate_limit import MAX_PATH_LENGTH, sanitize_path

logger = logging.getLogger(__name__)

_PARAMETER = re.compile(r"\{\w+\}")
IPV6_PREFIX = 64
"""What one IPv6 customer gets at least: single addresses of it are free to change."""


def _template(request: Request) -> str:
    # The route itself knows its path only without the prefixes of the routers that include it.
    context = request.scope.get("fastapi", {}).get("effective_route_context") or request.scope["route"]
    template: str = context.path_format
    return template


async def get_rule_paths(request: Request) -> RulePaths:
    """Leaves the paths in the request's state too: the look-up of the user then brings the rule with it."""
    literal = sanitize_path(request.scope["path"].removeprefix(request.scope.get("root_path", "")))
    template = sanitize_path(_template(request))
    # A client's path may have any length and any characters; no rule is called so.
    usable = len(literal) <= MAX_PATH_LENGTH and literal.isprintable()
    request.state.rule_paths = paths = RulePaths(literal if usable else template, template)
    return paths


LimitedPaths = Annotated[RulePaths, Depends(get_rule_paths)]


def limited_address(host: str) -> str:
    """The address, or its network, that shares one bucket."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((address, IPV6_PREFIX), strict=False))
    return str(address)


def choose_rule(rules: Sequence[TierRule], paths: RulePaths) -> TierRule | None:
    """The literal path's rule before the template's."""
    by_path = {rule.path: rule for rule in rules}
    return by_path.get(paths.literal) or by_path.get(paths.template)


def _default(settings: SettingsBase) -> Limit | None:
    if not isinstance(settings, DefaultRateLimitSettings):
        return None
    return Limit(settings.DEFAULT_RATE_LIMIT_LIMIT, settings.DEFAULT_RATE_LIMIT_PERIOD)


async def limit_request(request: Request, paths: RulePaths, user_id: int | None, rule: TierRule | None) -> None:
    """Counts the request.

    Raises 429 where the window is full, and 503 where Redis is away and the settings say that nothing passes uncounted.
    """
    limiter: RateLimiter | None = request.app.state.resources.rate_limiter
    limit = Limit(rule.limit, rule.period) if rule else _default(request.app.state.resources.settings)
    if limiter is None or limit is None:
        return
    host = request.client.host if request.client else ""
    caller = f"address:{limited_address(host)}" if user_id is None else f"user:{user_id}"
    path = rule.path if rule else paths.template
    without_rule = user_id is not None and rule is None
    try:
        admission = await limiter.admit(f"{caller}:{path}", limit, announce=without_rule)
    except RateLimiterUnavailableError:
        raise ServiceUnavailableException("Requests cannot be counted, try again.") from None
    if admission is None:
        return
    if admission.announce:
        logger.warning("user %s has no rate limit for %s: the default is used", user_id, path)
    setattr(request.state, STATE_KEY, admission.headers)
    if not admission.admitted:
        raise RateLimitException


def _matches(path: str, template: str) -> bool:
    parts = (re.escape(part) for part in _PARAMETER.split(template))
    return re.fullmatch(".+".join(parts), path) is not None


def warn_of_unknown_path(request: Request, path: str) -> None:
    """Logs a rule's path that no route has, with the nearest one that exists: it may be a slip of the pen."""
    contexts = iter_route_contexts(request.app.routes)
    templates = {sanitize_path(context.path_format) for context in contexts if context.path_format}
    if not any(_matches(path, template) for template in templates):
        nearest = get_close_matches(path, templates, n=1, cutoff=0)
        logger.warning(
            "no route has the rate limit's path %s; the nearest is %s", path, nearest[0] if nearest else None
        )
