"""What a use of the `cache` decorator means for its endpoint, checked where it is written."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from starlette.requests import Request
from starlette.responses import Response

from app.core.cache.keys import KeyPattern, Template
from app.core.cache.owners import ChangedOwner, Owner
from app.core.cache.targets import Targets
from app.core.exceptions.cache_exceptions import CacheIdentificationInferenceError, InvalidRequestError

ResourceType = type | tuple[type, ...]


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """The arguments of `@cache`."""

    key_prefix: str | None
    resource_id_name: str | None
    expiration: int
    resource_id_type: ResourceType
    extra: Mapping[str, str]
    patterns: Sequence[str]
    owners: Sequence[Owner]
    changes: Sequence[ChangedOwner]


@dataclass(frozen=True, slots=True)
class CacheRule:
    """One endpoint's templates; `request` and `response` name the parameters of these types, if it has them."""

    endpoint: str
    request: str | None
    response: str | None
    expiration: int
    key: Template | None
    extra: tuple[Template, ...]
    patterns: tuple[Template, ...]
    owners: tuple[Owner, ...]
    changes: tuple[ChangedOwner, ...]

    def entry_key(self, values: Mapping[str, Any]) -> str:
        return (self.key and self.key.render(values, absent="")) or ""

    def targets(self, values: Mapping[str, Any]) -> Targets:
        """What a write with these values invalidates; a template with a None (a field not given) names nothing."""
        own = (self.key,) if self.key else ()
        patterns = map(KeyPattern, _rendered(self.patterns, values))
        changed = (pattern for each in self.changes for pattern in each.patterns(values))
        return Targets.of(_rendered((*own, *self.extra), values), chain(patterns, changed))

    def refuse_on_get(self) -> None:
        """Raises `InvalidRequestError` for options that only other methods can use."""
        if self.extra or self.patterns or self.changes:
            raise InvalidRequestError(
                f"@cache on {self.endpoint}: a GET endpoint invalidates nothing. Move to_invalidate_extra, "
                "pattern_to_invalidate_extra and changes to the endpoints that change the data."
            )
        if self.key is None:
            raise InvalidRequestError(f"@cache on {self.endpoint}: a GET endpoint needs a key_prefix.")

    def refuse_on_write(self) -> None:
        """Raises `InvalidRequestError` for options that only GET can use."""
        if self.owners:
            raise InvalidRequestError(
                f"@cache on {self.endpoint}: only a GET endpoint has entries with owners. Name what this one changes: "
                "changes=[...]."
            )


def _rendered(templates: Iterable[Template], values: Mapping[str, Any]) -> Iterator[str]:
    return (text for template in templates if (text := template.render(values)) is not None)


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
    return (path.split(".") for path in template.paths if "." in path)


def _check(template: Template, types: Mapping[str, Any], name: str) -> None:
    template.check(types, name)
    for parameter, attribute, *_ in _dotted(template):
        kind = types[parameter]
        fields = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", None)
        if fields is not None and attribute not in fields and not hasattr(kind, attribute):
            raise InvalidRequestError(
                f"@cache on {name}: {parameter} has no {attribute!r}. It has: {', '.join(fields)}."
            )


def _key(endpoint: Callable[..., Any], types: Mapping[str, Any], options: CacheOptions, name: str) -> Template | None:
    if options.key_prefix is None:
        return None
    resource_id = options.resource_id_name or _infer_id(endpoint, types, options.resource_id_type, name)
    return Template(f"{options.key_prefix}:{{{resource_id}}}")


def create_rule(endpoint: Callable[..., Any], options: CacheOptions) -> CacheRule:
    """Raises an error that names the endpoint and how to fix it, if the options do not fit it."""
    name = f"{endpoint.__module__}.{endpoint.__qualname__}"
    types = annotations_of(endpoint)
    if options.expiration < 1:
        raise InvalidRequestError(f"@cache on {name}: expiration is in whole seconds, from 1.")
    rule = CacheRule(
        endpoint=name,
        request=next((each for each, kind in types.items() if _is(kind, Request) or each == "request"), None),
        response=next((parameter for parameter, kind in types.items() if kind is Response), None),
        expiration=options.expiration,
        key=_key(endpoint, types, options, name),
        extra=tuple(Template(f"{prefix}:{resource}") for prefix, resource in options.extra.items()),
        patterns=tuple(map(Template, options.patterns)),
        owners=tuple(options.owners),
        changes=tuple(options.changes),
    )
    own = (rule.key,) if rule.key else ()
    for template in (*own, *rule.extra, *rule.patterns, *(changed.name for changed in rule.changes)):
        _check(template, types, name)
    if rule.key:
        for owner in rule.owners:
            owner.register(rule.key)
    return rule
