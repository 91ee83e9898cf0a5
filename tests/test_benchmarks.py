"""The benchmarks run and reject wrong responses; the figures of these runs are not used."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.compare import load
from benchmarks.compare.load import Plan, WrongResponseError, run_load
from tests.helper import API
from tests.support.readme import ROOT


def run_benchmark(name: str, *arguments: str) -> str:
    """What it prints."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.alone
def test_comparison_writes_table_json_and_plot(tmp_path: Path) -> None:
    output = run_benchmark("compare", "--only=S2,S7", "--rounds=1", "--seconds=1", f"--output={tmp_path}")
    scenarios = json.loads((tmp_path / "compare.json").read_text())["scenarios"]
    assert list(scenarios) == ["S2", "S7"]
    assert all(f"| {name} " in output for name in scenarios)
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_profile_draws_the_functions_of_the_application(tmp_path: Path) -> None:
    output = run_benchmark("profile", "S5", "--seconds=1", f"--output={tmp_path}")
    assert "S5 user/me" in output
    titles = ET.parse(tmp_path / "profile-S5.svg").iter("{http://www.w3.org/2000/svg}title")
    assert any("(app/" in (title.text or "") for title in titles)


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
