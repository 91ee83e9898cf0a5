"""A pytest plugin that fills the database of the tests from the SQL file that `GIVEN_DATABASE` names.

It is loaded from another folder, because the tests may be those of a version without `dev.rehearsal`.
"""

import os
import subprocess
from collections.abc import Generator
from typing import Any

import pytest

from dev.local.programs import postgres_package_programs


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    value = yield
    if fixturedef.argname == "services":
        server = value.postgres
        address = {
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": server.user,
            "PGPASSWORD": server.password,
        }
        psql = [str(postgres_package_programs() / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
        file = f"--file={os.environ['GIVEN_DATABASE']}"
        subprocess.run(
            [*psql, "--output=/dev/null", "--dbname=postgres", file], env={**os.environ, **address}, check=True
        )
    return value
