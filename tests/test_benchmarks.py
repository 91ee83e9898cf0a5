"""The comparison runs and refuses wrong responses; what it measures here means nothing."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.compare import load
from benchmarks.compare.load import Plan, WrongResponseError, run_load
from tests.helper import API
from tests.support.readme import ROOT


@pytest.mark.alone
def test_comparison_writes_table_json_and_plot(tmp_path: Path) -> None:
    arguments = ["--only", "S2,S7", "--rounds", "1", "--seconds", "1", "--output", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.compare", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    scenarios = json.loads((tmp_path / "compare.json").read_text())["scenarios"]
    assert list(scenarios) == ["S2", "S7"]
    assert all(f"| {name} " in result.stdout for name in scenarios)
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("generator", ["wrk", "Python"])
def test_load_generator_reports_wrong_responses(server: str, generator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if generator == "Python":
        monkeypatch.setattr(load, "find_wrk", lambda: None)
    elif load.find_wrk() is None:
        pytest.skip("wrk is not installed")
    request = f"GET {API}/health HTTP/1.1\r\nHost: testserver\r\n\r\n".encode()
    plan = Plan(int(server.rpartition(":")[2]), [request], 200, is_cached=False, connections=2, seconds=1)
    assert run_load(plan).requests > 0
    for wrong in (replace(plan, status=201), replace(plan, is_cached=True)):
        with pytest.raises(WrongResponseError, match="were wrong"):
            run_load(wrong)
