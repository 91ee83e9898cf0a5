"""python -m dev.rehearsal [--long]"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dev.rehearsal import merging, suites
from dev.rehearsal.database import Database, open_database
from dev.rehearsal.product import ROOT, RehearsalError, clone, develop, git, unpack_tools
from dev.rehearsal.versions import COMMIT, NAME
from dev.upgrade import UpgradeError


class Table:
    """Prints a line with the time and the result of each step, when it is done."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def run(self, title: str, step: Callable[[], object]) -> None:
        begin = time.monotonic()
        result = step()
        print(f"{title:<38} {time.monotonic() - begin:>4.0f} s  {result or 'done'}", flush=True)

    def total(self) -> None:
        print(f"{'all':<38} {time.monotonic() - self._begin:>4.0f} s", flush=True)


class Rehearsal:
    """Its steps, in the order in which they run."""

    def __init__(self, folder: Path, database: Database, long: bool) -> None:
        self._folder, self._database, self._long = folder, database, long
        self._product = clone(folder / "product", COMMIT)
        self._token = self._seen = self._revision = ""
        self._tools: Path | None = None

    def run(self, table: Table) -> None:
        table.run(f"users and posts with {NAME}", self._use_version)
        table.run("a product is made of it", self._make_product)
        table.run("the product is used", self._use_product)
        table.run(f"{git(ROOT, 'describe', '--always', 'HEAD')} is merged", self._merge)
        table.run("the data is migrated", self._migrate)
        table.run("checks of the merged product", lambda: suites.check(self._product))
        table.run("its tests on the migrated data", self._test_product)
        table.run(f"tests of {NAME} on the new schema", self._test_old_code)

    def _use_version(self) -> str:
        self._database.migrate(self._product)
        self._database.python(self._product, "-m", "src.scripts.create_first_superuser")
        self._token = self._database.call(self._product, "shop")
        (self._revision,) = self._database.query("shop", "SELECT version_num FROM alembic_version")
        return f"migration {self._revision}"

    def _make_product(self) -> str:
        self._tools = unpack_tools(self._folder / "tools")
        develop(self._product, self._tools)
        return git(self._product, "diff", "--shortstat", COMMIT)

    def _use_product(self) -> None:
        self._database.migrate(self._product)
        self._database.call(self._product, "products")
        self._seen = self._database.call(self._product, "read", self._token)

    def _merge(self) -> str:
        conflicts = merging.merge(self._product, self._tools)
        conflicts.check()
        merging.resolve(self._product, conflicts)
        heads = merging.join_migrations(self._product)
        return f"{conflicts}; {heads} newest migration{'s' if heads > 1 else ''}"

    def _migrate(self) -> str:
        self._database.migrate(self._product)
        seen = self._database.call(self._product, "read", self._token)
        if seen != self._seen:
            raise RehearsalError(f"the API shows other data than before the merge:\n{self._seen}\n{seen}")
        return f"{len(seen.splitlines())} lines of responses are the same as before"

    def _test_product(self) -> str:
        dump = self._database.dump("shop", self._folder / "shop.sql")
        return suites.run_tests(self._product, dump, () if self._long else suites.TESTS)

    def _test_old_code(self) -> str:
        old, new = (clone(self._folder / name, commit) for name, commit in (("old", COMMIT), ("new", "HEAD")))
        self._database.migrate(new, "empty")
        # 0.1.0 does not start on a migration that it does not have.
        self._database.query("empty", f"UPDATE alembic_version SET version_num = '{self._revision}'")  # noqa: S608
        dump = self._database.dump("empty", self._folder / "new.sql")
        tests = () if self._long else tuple(f"tests/{name}.py" for name in suites.OLD_TESTS)
        python = suites.old_python(old) if self._long else sys.executable
        return suites.run_tests(old, dump, tests, python)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make rehearsal", description="Merges the template into a product of it.")
    parser.add_argument("--long", action="store_true", help="all tests, and the previous version's packages")
    options = parser.parse_args(arguments)
    table = Table()
    try:
        with tempfile.TemporaryDirectory() as folder, open_database() as database:
            Rehearsal(Path(folder), database, options.long).run(table)
    except (RehearsalError, UpgradeError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    table.total()
    return 0


if __name__ == "__main__":
    sys.exit(main())
