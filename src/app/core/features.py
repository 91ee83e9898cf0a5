"""What is open in a running application, and the one error for what its settings switch off."""

from typing import Any, TypeVar

from starlette.applications import Starlette

Part = TypeVar("Part")


class FeatureDisabledError(RuntimeError):
    """Something needs a feature that the settings leave out; `settings_class` switches it on."""

    def __init__(self, settings_class: str) -> None:
        super().__init__(f"This needs {settings_class}, which the settings leave out: let Settings inherit from it.")
        self.settings_class = settings_class


def require(part: Part | None, settings_class: str) -> Part:
    """The part; raises `FeatureDisabledError` for None."""
    if part is None:
        raise FeatureDisabledError(settings_class)
    return part


def read_resources(app: Starlette) -> Any:
    """The application's `Resources`, untyped for the modules below `core.resources`, whose `resources_of` is typed.

    Raises RuntimeError while nothing is open.
    """
    resources = getattr(app.state, "resources", None)
    if resources is None:
        raise RuntimeError("The application has not started: nothing is open before its lifespan runs.")
    return resources
