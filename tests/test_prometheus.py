"""A scrape has the figures of all worker processes, whichever of them serves the port."""

import os
import re
import signal
import socket
from collections import Counter
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.metrics import MeterProvider

from app.core.telemetry.prometheus import merged, serve_metrics
from dev.local.ports import free_port
from dev.local.processes import descendants, wait_until
from tests.conftest import Services
from tests.helper import API, PLAIN_HTTP
from tests.support.processes import python, wait_until_ready

COUNT = re.compile(r'^http_server_request_duration_seconds_count\{.*="/api/v1/users".*\} ([0-9.e+]+)$', re.MULTILINE)
INSTANCE = re.compile(r'service_instance_id="([^"]+)"')
REQUESTS = 40


def users_read(port: int) -> dict[str, float]:
    """The requests of the list of users, by process."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", verify=PLAIN_HTTP).raise_for_status().text
    except httpx.HTTPError:
        return {}
    assert all(number == 1 for number in Counter(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)).values())
    return {INSTANCE.findall(found[0])[0]: float(found[1]) for found in COUNT.finditer(text)}


@pytest.mark.usefixtures("rows")
def test_a_scrape_has_the_figures_of_all_processes(services: Services, tmp_path: Path) -> None:
    port, metrics = free_port(), free_port()
    variables = {"PORT": str(port), "HOST": "127.0.0.1", "PYTHONPATH": "src", "PROMETHEUS_PORT": str(metrics)}
    environment = services.environment(**variables, WEB_CONCURRENCY="2")
    with python("gunicorn", "app.main:app", log=tmp_path / "log", environment=environment) as program:
        wait_until_ready(f"http://127.0.0.1:{port}{API}/ready", program)
        for _ in range(REQUESTS):
            httpx.get(f"http://127.0.0.1:{port}{API}/users", verify=PLAIN_HTTP).raise_for_status()
        assert wait_until(lambda: sum(users_read(metrics).values()) == REQUESTS, 10), users_read(metrics)
        before = users_read(metrics)

        # The process that serves the port may be this one; another takes it over, and the figures stay.
        for pid in descendants(program.pid):
            if f"-{pid}" in str(before) and len(before) == 2:
                os.kill(pid, signal.SIGKILL)
                break
        assert wait_until(lambda: users_read(metrics) == before, 10), users_read(metrics)
    assert '"level": "ERROR"' not in program.output
    assert "PROMETHEUS_PORT" not in program.output


def test_a_port_that_another_program_has_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with serve_metrics(port) as readers:
            provider = MeterProvider(readers, shutdown_on_exit=False)
            assert wait_until(lambda: bool(caplog.messages), 10)
        provider.shutdown()
    (message,) = caplog.messages
    assert message.startswith(f"PROMETHEUS_PORT: metrics cannot be read on the port {port}: ")


def test_samples_of_one_metric_are_merged() -> None:
    one = '# HELP a A.\n# TYPE a counter\na{i="1"} 1.0\n# HELP b B.\n# TYPE b gauge\nb{i="1"} 2.0\n'
    two = '# HELP a A.\n# TYPE a counter\na{i="2"} 3.0\n'
    assert merged([one, two]) == (
        '# HELP a A.\n# TYPE a counter\na{i="1"} 1.0\na{i="2"} 3.0\n# HELP b B.\n# TYPE b gauge\nb{i="1"} 2.0\n'
    )
