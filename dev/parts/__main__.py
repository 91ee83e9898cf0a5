"""`make remove PART=posts`, or several: `PART=chaos,benchmarks`.

python -m dev.parts chaos benchmarks [--force]
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dev.parts import lock, verify
from dev.parts.manifest import Part, UnknownPartError, read_parts, with_required
from dev.parts.removal import RemovalError, Report, remove
from dev.parts.staging import Staging

ROOT = Path(__file__).resolve().parents[2]


def _is_clean() -> bool:
    """Whether everything is committed, so that `git diff` shows what a removal has changed."""
    command = ["git", "status", "--porcelain"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.returncode == 0 and not result.stdout


def _names(arguments: Sequence[str]) -> list[str]:
    return [name for argument in arguments for name in argument.replace(",", " ").split()]


def _print_report(staging: Staging, parts: list[Part], report: Report) -> None:
    changed, deleted = staging.changes()
    removed = ", ".join(part.name for part in parts)
    print(
        f"removed: {removed}; {len(deleted)} files deleted, {len(changed)} changed, {len(report.tests)} tests removed"
    )
    for name in report.migrations:
        print(f"the migration {name} drops the tables; the next start applies it, and their rows are lost")
    for hint in (hint for part in parts for hint in part.hints):
        print(hint)
    for problem in report.not_found:
        print(f"not found, changed earlier: {problem}")
    print("`git diff` shows the changes; run `make check` and `make test` before you commit them")


def run(names: Sequence[str]) -> int:
    """Removes the parts that are there; returns the exit status."""
    asked = with_required(names)
    parts = [part for part in asked if part.is_present(ROOT)]
    if not parts:
        print(f"{', '.join(names)}: removed already; nothing is changed")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        staging = Staging(ROOT, Path(folder))
        report = remove(staging, parts)
        problems = list(verify.broken_imports(staging))
        if problems:
            raise RemovalError("\n".join(problems))
        lock.update(staging)
        for problem in (
            *verify.broken_links(staging),
            *(p for part in parts for p in verify.words_left(staging, part)),
        ):
            print(f"look at: {problem}")
        _print_report(staging, parts, report)
        staging.carry_out()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make remove PART=", description="Removes parts of the template.")
    parser.add_argument("parts", nargs="*", help="their names")
    parser.add_argument("--force", action="store_true", help="although there are changes that are not committed")
    options = parser.parse_args(arguments)
    try:
        names = _names(options.parts)
        if not names:
            parts = "; ".join(f"{part.name} ({part.about})" for part in read_parts().values())
            raise UnknownPartError(f"name the parts, as in `make remove PART=posts`: {parts}")
        with_required(names)
        if not options.force and not _is_clean():
            raise RemovalError("there are changes that are not committed: commit them, or add FORCE=1")
        return run(names)
    except (UnknownPartError, RemovalError, lock.LockError, ValueError) as error:
        print(f"{error}\nnothing is changed", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
