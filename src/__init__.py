"""Makes `src.app` and `app` two names for one set of module objects.

From the project root the code is imported as `src.app.main`, in a container and in extensions as `app.main`. If a
module were loaded twice, there would be two `Base` classes and two `settings`, and dependency overrides would not work.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).resolve().parent / "app"


class _AliasLoader(Loader):
    """Returns the module that is already imported under the other name."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._own_spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's spec over the module's own.
        module.__spec__ = self._own_spec


class _AliasFinder(MetaPathFinder):
    """Finds `app` next to this file, and `src.app…` as an alias of `app…`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "app":
            return spec_from_file_location(
                fullname, _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)]
            )
        if fullname == "src.app" or fullname.startswith("src.app."):
            try:
                module = importlib.import_module(fullname.removeprefix("src."))
            except ModuleNotFoundError as error:
                if error.name != fullname.removeprefix("src."):
                    raise
                return None
            return ModuleSpec(fullname, _AliasLoader(module), is_package=hasattr(module, "__path__"))
        return None


if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _AliasFinder())
