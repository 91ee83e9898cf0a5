"""A network that drops everything: connections to PostgreSQL are closed long before the statement timeout."""

import asyncio
import json
import os
import shutil
import sys

import pytest

from app.core.db.connector import UNACKNOWLEDGED_SECONDS
from tests.support.readme import ROOT

PROGRAMS = ("unshare", "ip", "iptables")


@pytest.mark.long
@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, PROGRAMS)), reason="needs root, unshare, ip and iptables"
)
async def test_a_cut_network_to_postgresql_is_noticed_within_seconds() -> None:
    """By a request that waits for its response, and by one that is sent later. The statement timeout is 20 seconds."""
    program = await asyncio.create_subprocess_exec(
        *("unshare", "--net", sys.executable, "-m", "tests.support.cut_network"),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await program.communicate()
    assert program.returncode == 0
    seconds = json.loads(output)
    assert seconds.keys() == {"waits already", "sent later"}
    assert max(seconds.values()) < UNACKNOWLEDGED_SECONDS + 5, seconds
