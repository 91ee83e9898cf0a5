"""Many runs of `python -m MODULE` in different environments, in the time of a few: the packages are imported once."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.support.readme import ROOT

# Only packages: what belongs to the project reads its settings when it is imported.
_LAUNCHER = """
import json, os, runpy, sys, tempfile
import alembic.command, alembic.context, asyncpg, bcrypt, fastapi, fastcrud, hiredis, jose.jwt, pydantic_settings
import redis.asyncio, sqlalchemy.ext.asyncio

def run(module, environment):
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            os.environ.clear()
            os.environ.update(environment)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.argv = [module]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            sys.exit()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return status, output.read().decode()

module, environments = json.load(sys.stdin)
results = [run(module, environment) for environment in environments]
json.dump(results, sys.stdout)
"""


def run_module(module: str, environments: Sequence[Mapping[str, str]]) -> list[tuple[int, str]]:
    """The exit status and everything printed, of each run in the project's root."""
    result = subprocess.run(
        [sys.executable, "-c", _LAUNCHER],
        input=json.dumps([module, [dict(environment) for environment in environments]]),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [(status, output) for status, output in json.loads(result.stdout)]
