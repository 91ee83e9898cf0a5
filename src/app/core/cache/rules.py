"""What a use of the `cache` decorator means for its endpoint, checked where it is written."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from starlette.requests import Request
from starlette.responses import Response

from app.core.cache.keys import Template
from app.core.cache.store import Targets
from app.core.exceptions.cache_exceptions import CacheIdentificationInferenceError, InvalidRequestError

ResourceType = type | tuple[type, ...]


@dataclass(frozen=True, slots=True)
class CacheRule:
    """One endpoint's templates; `request` and `response` name the parameters of these types."""

    endpoint: str
    request: str
    response: str | None
    expiration: int
    key: Template
    extra: tuple[Template, ...]
    patterns: tuple[Template, ...]

    def entry_key(self, values: Mapping[str, Any]) -> str:
        return self.key.key(values, absent="") or ""

    def targets(self, values: Mapping[str, Any]) -> Targets:
        """What a write with these values invalidates; a template with a None (a field not given) names nothing."""
        keys = (template.key(values) for template in (self.key, *self.extra))
        patterns = (template.pattern(values) for template in self.patterns)
        return Targets(
            frozenset(key for key in keys if key is not None),
            frozenset(pattern for pattern in patterns if pattern is not None),
        )

    def refuse_on_get(self) -> None:
        if self.extra or self.patterns:
            raise InvalidRequestError(
                f"@cache on {self.endpoint}: a GET endpoint invalidates nothing. Move to_invalidate_extra and "
                "pattern_to_invalidate_extra to the endpoints that change the data."
            )


def annotations_of(endpoint: Callable[..., Any]) -> dict[str, Any]:
    """The parameters' types without `Annotated`, in order."""
    names = inspect.signature(endpoint).parameters
    try:
        hints = get_type_hints(endpoint)
    except NameError:  # a forward reference to something local
        hints = {name: parameter.annotation for name, parameter in names.items()}
    return {name: hints.get(name, inspect.Parameter.empty) for name in names}


def _is(annotation: Any, kinds: ResourceType) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return isinstance(annotation, type) and issubclass(annotation, kinds)


def _infer_id(endpoint: Callable[..., Any], types: Mapping[str, Any], kinds: ResourceType, name: str) -> str:
    required = inspect.signature(endpoint).parameters
    fitting = [parameter for parameter, annotation in types.items() if _is(annotation, kinds)]
    if len(fitting) > 1:
        fitting = [parameter for parameter in fitting if required[parameter].default is inspect.Parameter.empty]
    if len(fitting) != 1:
        raise CacheIdentificationInferenceError(
            f"@cache on {name}: {len(fitting)} parameters could be the resource id. "
            "Say which one with resource_id_name."
        )
    return fitting[0]


def _dotted(template: Template) -> Iterator[list[str]]:
    return (path.split(".") for path in template.paths() if "." in path)


def _check(template: Template, types: Mapping[str, Any], name: str) -> None:
    template.check(types, name)
    for parameter, attribute, *_ in _dotted(template):
        kind = types[parameter]
        fields = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", None)
        if fields is not None and attribute not in fields and not hasattr(kind, attribute):
            raise InvalidRequestError(
                f"@cache on {name}: {parameter} has no {attribute!r}. It has: {', '.join(fields)}."
            )


def create_rule(
    endpoint: Callable[..., Any],
    key_prefix: str,
    resource_id_name: str | None,
    expiration: int,
    resource_id_type: ResourceType,
    extra: Mapping[str, str],
    patterns: list[str],
) -> CacheRule:
    """Raises an error that names the endpoint and the mend, if the options do not fit it."""
    name = f"{endpoint.__module__}.{endpoint.__qualname__}"
    types = annotations_of(endpoint)
    requests = [parameter for parameter, kind in types.items() if _is(kind, Request) or parameter == "request"]
    if not requests:
        raise InvalidRequestError(f"@cache on {name}: there is no request. Add the parameter `request: Request`.")
    if expiration < 1:
        raise InvalidRequestError(f"@cache on {name}: expiration is in whole seconds, from 1.")
    resource_id = resource_id_name or _infer_id(endpoint, types, resource_id_type, name)
    rule = CacheRule(
        endpoint=name,
        request=requests[0],
        response=next((parameter for parameter, kind in types.items() if kind is Response), None),
        expiration=expiration,
        key=Template(f"{key_prefix}:{{{resource_id}}}"),
        extra=tuple(Template(f"{prefix}:{resource}") for prefix, resource in extra.items()),
        patterns=tuple(map(Template, patterns)),
    )
    for template in (rule.key, *rule.extra, *rule.patterns):
        _check(template, types, name)
    return rule
