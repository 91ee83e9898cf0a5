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
from benchmarks.scaling.__main__ import write
from benchmarks.scaling.model import (
    Cost,
    Measured,
    Rest,
    Servers,
    Tasks,
    capacity,
    demand,
    limits,
    lowest,
    mixed,
    web_until_connections_are_full,
)
from benchmarks.scaling.simulation import Simulation
from tests.helper import API
from tests.support.readme import ROOT


def run_benchmark(name: str, *arguments: str) -> str:
    """What it prints."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


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


CHEAP = Cost(web=100, postgres=0, redis=5, queries=0, commands=1)
DEAR = Cost(web=1000, postgres=250, redis=20, queries=2, commands=2, tasks=0.1)


class TestScaling:
    """The arithmetic of `benchmarks.scaling`, with costs that are easy to calculate with."""

    MEASURED = Measured(
        machine="a machine",
        costs={"S2": CHEAP, "S7": DEAR},
        web=Rest(queries=0, commands=0, redis_connections=3),
        worker=Rest(queries=2, commands=10, redis_connections=4),
        tasks=Tasks(worker=500, redis=100, waiting_bytes=400),
        memory={"a cached user": 600},
    )

    def test_of_several_rounds_the_lowest_costs_count(self) -> None:
        assert lowest([DEAR, Cost(900, 300, 20, 2, 2, tasks=0.1)]) == Cost(900, 250, 20, 2, 2, tasks=0.1)

    def test_the_mix_is_the_average_by_shares(self) -> None:
        assert mixed(self.MEASURED.costs, {"S2": 8, "S7": 1, "S1": 100}) == Cost(
            200, 250 / 9, 60 / 9, 2 / 9, 10 / 9, 0.1 / 9
        )

    def test_processes_and_their_workers_add_up(self) -> None:
        """20 web processes handle 1000 requests a second each; five workers are at rest."""
        found = demand(self.MEASURED, DEAR, Servers(pool_size=4, max_overflow=4), web=20)
        assert (found.workers, found.requests) == (5, 20_000)
        assert found.postgres_connections == 25 * (4 + 4 + 2)
        assert found.redis_connections == 20 * 3 + 5 * 4
        assert (found.queries_at_rest, found.commands_at_rest) == (10, 50)
        assert (found.queries, found.commands) == (40_010, 40_050)
        assert found.postgres_cores == 5
        assert found.redis_cores == pytest.approx(0.6)

    def test_what_is_full_first_comes_first(self) -> None:
        """Every tenth request submits a task: Redis has 30 us of work for each request, and a worker 50 us."""
        found = limits(DEAR, Servers(postgres_cores=8), self.MEASURED.tasks)
        assert [(limit.part.split(",")[0], round(limit.web)) for limit in found] == [
            ("connections to PostgreSQL (100)", 3),
            ("one worker", 20),
            ("PostgreSQL", 32),
            ("Redis", 33),
        ]

    @pytest.mark.parametrize(("max_connections", "web"), [(46, 0), (47, 1), (300, 10), (267, 9), (266, 8)])
    def test_workers_use_connections_too(self, max_connections: int, web: int) -> None:
        assert web_until_connections_are_full(Servers(max_connections=max_connections)) == web

    @pytest.mark.parametrize(("web", "full"), [(5, "web"), (64, "PostgreSQL")])
    def test_the_simulation_is_full_where_the_arithmetic_says_so(self, web: int, full: str) -> None:
        servers, tasks = Servers(postgres_cores=8), self.MEASURED.tasks
        found = Simulation({"S7": DEAR}, {"S7": 1}, tasks, servers, web).with_callers(8, 10_000)
        assert found.per_second == pytest.approx(capacity(DEAR, servers, tasks, web), rel=0.05)
        assert found.busy[full] == pytest.approx(1, rel=0.05)
        assert max(found.busy, key=lambda name: found.busy[name]) == full

    def test_simulated_requests_wait_longer_the_more_arrive(self) -> None:
        servers, tasks = Servers(), self.MEASURED.tasks
        simulation = Simulation(self.MEASURED.costs, {"S2": 8, "S7": 1}, tasks, servers, web=2)
        quiet, busy = (simulation.with_arrivals(load * 10_000, 5000) for load in (0.1, 0.9))
        assert quiet.p50 < DEAR.web < busy.p99
        assert quiet.p99 < busy.p99
        assert busy.busy["web"] == pytest.approx(0.9, rel=0.1)

    def test_an_earlier_measurement_is_calculated_again(self, tmp_path: Path) -> None:
        file = tmp_path / "scaling.json"
        write(file, self.MEASURED)
        output = run_benchmark("scaling", f"--costs={file}", "--max-connections=300", "--cores=8")
        assert "| connections to PostgreSQL, at most | 44 | 286 | 2,750 |" in output
        assert "| connections to PostgreSQL (300) | 10 |" in output
        assert "| a cached user | 600 | 600 |" in output


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
