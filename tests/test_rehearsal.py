"""The parts of `make rehearsal`. The whole runs in the long job."""

from collections.abc import Callable

import pytest

from dev.rehearsal import versions
from dev.rehearsal.edits import EDITS, LOCK, changed_lock
from dev.rehearsal.merging import MAX_CONFLICTS, Conflicts
from dev.rehearsal.product import RehearsalError
from dev.rehearsal.suites import OLD_TESTS
from tests.support.readme import ROOT


@pytest.mark.parametrize(("name", "edit"), [*EDITS.items(), (LOCK, changed_lock)])
def test_each_edit_of_the_product_finds_its_place(name: str, edit: Callable[[str], str]) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    assert edit(text) != text


def test_conflicts_are_bounded() -> None:
    """None in a file that nobody edited, and a few in the others."""
    edited = [f"edited{number}.py" for number in range(MAX_CONFLICTS)]
    Conflicts(edited, [], plain_merge=20).check()

    for conflicts in (Conflicts([], ["other.py"], 1), Conflicts([*edited, "more.py"], [], 20)):
        with pytest.raises(RehearsalError):
            conflicts.check()


def test_the_previous_version_is_named_in_the_changelog() -> None:
    assert f"\n## [{versions.NAME}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all((ROOT / "tests" / f"{name}.py").exists() for name in OLD_TESTS)
