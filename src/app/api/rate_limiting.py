"""How a limited route counts a request: what it counts towards, and by which rule."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from app.api.address_limits import count_request, limited_address
from app.api.routes import PATH_PARAMETER, once_per_route, route_template, route_templates
from app.core.config import DefaultRateLimitSettings
from app.core.exceptions.http_exceptions import RateLimitException
from app.core.resources import resources_of
from app.core.utils.rate_limit import Limit
from app.crud.crud_rate_limit import RulePaths, TierRule
from app.crud.crud_users import StoredUser
from app.schemas.rate_limit import MAX_PATH_LENGTH, sanitize_path

logger = logging.getLogger(__name__)


def rule_paths(request: Request) -> RulePaths:
    """The paths under which a rule for this request may be stored."""
    literal = sanitize_path(request.scope["path"].removeprefix(request.scope.get("root_path", "")))
    template = sanitize_path(route_template(request))
    # A client's path may have any length and any characters; no rule has such a name.
    usable = len(literal) <= MAX_PATH_LENGTH and literal.isprintable()
    return RulePaths(literal if usable else template, template)


def _depends_on(dependant: Dependant, call: Callable[..., Any]) -> bool:
    return any(each.call is call or _depends_on(each, call) for each in dependant.dependencies)


def is_limited_by(limiter: Callable[..., Any], request: Request) -> bool:
    """Whether the function is among the dependencies of the request's route, at any depth."""
    route: APIRoute = request.scope["route"]
    return once_per_route(route, "is_limited", lambda: _depends_on(route.dependant, limiter))


def choose_rule(rules: Sequence[TierRule], paths: RulePaths) -> TierRule | None:
    """The literal path's rule before the template's."""
    by_path = {rule.path: rule for rule in rules}
    return by_path.get(paths.literal) or by_path.get(paths.template)


@dataclass(frozen=True, slots=True)
class RateLimitSubject:
    """What one request counts towards: a user, or without one an address; a rule, or without one the route's path."""

    user_id: int | None
    address: str
    rule: TierRule | None
    path: str

    @classmethod
    def of(cls, request: Request, user: StoredUser | None, rules: Sequence[TierRule]) -> "RateLimitSubject":
        paths = rule_paths(request)
        rule = choose_rule(rules, paths)
        path = rule.path if rule else paths.template
        return cls(user.id if user else None, limited_address(request), rule, path)

    @property
    def key(self) -> str:
        caller = f"address:{self.address}" if self.user_id is None else f"user:{self.user_id}"
        return f"{caller}:{self.path}"

    @property
    def is_user_without_rule(self) -> bool:
        return self.user_id is not None and self.rule is None


async def limit_request(request: Request, subject: RateLimitSubject) -> None:
    """Counts the request by the subject's rule, or by the default.

    Raises 429 where the window is full, and 503 where the request cannot be counted and may not pass uncounted.
    """
    settings = resources_of(request.app).settings
    if subject.rule:
        limit = Limit(subject.rule.limit, subject.rule.period)
    elif isinstance(settings, DefaultRateLimitSettings):
        limit = Limit(settings.DEFAULT_RATE_LIMIT_LIMIT, settings.DEFAULT_RATE_LIMIT_PERIOD)
    else:
        return
    admission = await count_request(request, subject.key, limit, with_notice=subject.is_user_without_rule)
    if admission and admission.notice_is_due:
        logger.warning("user %s has no rate limit for %s: the default is used", subject.user_id, subject.path)
    if admission and not admission.admitted:
        raise RateLimitException


def _matches(path: str, template: str) -> bool:
    parts = (re.escape(part) for part in PATH_PARAMETER.split(template))
    return re.fullmatch(".+".join(parts), path) is not None


def warn_of_unknown_path(request: Request, path: str) -> None:
    """Logs a rule's path that no route has, with the nearest one that exists: it may be a typing error."""
    templates = {sanitize_path(template) for template in route_templates(request.app.routes)}
    if not any(_matches(path, template) for template in templates):
        nearest = get_close_matches(path, templates, n=1, cutoff=0)
        logger.warning(
            "no route has the rate limit's path %s; the nearest is %s", path, nearest[0] if nearest else None
        )
