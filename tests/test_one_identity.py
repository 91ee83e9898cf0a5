"""`app` and `src.app` are two names for one set of module objects, whichever is used first."""

import os
from pathlib import Path

import pytest

from tests.support.forks import run_python
from tests.support.readme import ROOT

MODULES = "app", "app.main", "app.models.user", "app.core.db.database", "app.core.features", "app.api.dependencies"


@pytest.mark.parametrize("first", ["src.app", "app"])
def test_both_names_are_one_module(first: str) -> None:
    program = f"""
import importlib, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "src")!r}]
for name in {MODULES!r}:
    ours = name if {first!r} == "app" else f"src.{{name}}"
    other = f"src.{{name}}" if {first!r} == "app" else name
    one, two = importlib.import_module(ours), importlib.import_module(other)
    assert one is two, name
    assert one.__name__ == one.__spec__.name == name, one.__spec__
    assert importlib.reload(one) is two if name == "app.core.features" else True
from src.app.models.user import User
import app.models.user
assert User is app.models.user.User
"""
    assert run_python("-c", program, environment=os.environ) == (0, "")


@pytest.mark.parametrize(("folder", "name"), [(ROOT, "src.app.main"), (ROOT / "src", "app.main")])
def test_both_ways_to_start_work(folder: Path, name: str) -> None:
    program = f"from {name} import app; assert app.title"
    assert run_python("-c", program, environment=os.environ, folder=folder) == (0, "")


def test_a_missing_module_is_missing_under_both_names() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        __import__("src.app.nowhere")


def test_importing_does_nothing() -> None:
    """No connection, no event loop, no folder, no handler on a logger: importing everything has no side effects."""
    program = """
import logging, pathlib, pkgutil, importlib, socket
import app
before = set(pathlib.Path(app.__file__).parent.rglob("*.log"))
socket.socket.connect = lambda *_: (_ for _ in ()).throw(AssertionError("a connection"))
for module in pkgutil.walk_packages(app.__path__, "app."):
    importlib.import_module(module.name)
assert logging.getLogger("app").handlers == []
assert set(pathlib.Path(app.__file__).parent.rglob("*.log")) == before
"""
    assert run_python("-c", program, environment=os.environ, folder=ROOT / "src") == (0, "")
