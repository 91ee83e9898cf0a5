"""What the files for containers guarantee, checked without Docker; `tests/compose` has what needs it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.config import PostgresSettings, Settings
from app.core.db.demand import connections_per_process
from tests.support.readme import ROOT

SHIPPED = {"gunicorn.conf.py", "deploy", "src"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_image_contains_only_what_runs_in_it() -> None:
    """No tools for developers, no tests: the stage of the image copies three things from the project."""
    stage = re.split(r"^FROM .*$", read("Dockerfile"), flags=re.MULTILINE)[-1]
    copied = [line.split()[1:-1] for line in stage.splitlines() if line.startswith("COPY") and "--from=" not in line]
    assert {name.removeprefix("./") for names in copied for name in names} == SHIPPED


def test_docker_gets_only_what_is_listed() -> None:
    """The first pattern ignores everything, so that a new folder is not included by accident."""
    patterns = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert patterns[0] == "*"
    assert {line[1:] for line in patterns if line.startswith("!")} == SHIPPED | {"pyproject.toml", "poetry.lock"}
    assert "src/.env" in patterns


@pytest.mark.parametrize("folder", sorted(SHIPPED - {"gunicorn.conf.py"}))
def test_nothing_that_is_shipped_imports_developer_tools(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not re.search(r"^\s*(?:from|import) (?:dev|tests)\b", path.read_text(encoding="utf-8"), re.MULTILINE), (
            path
        )


def test_secrets_are_never_committed_or_copied() -> None:
    assert {"secrets/", "src/.env", ".local/"} <= set(read(".gitignore").split())


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.servers.yml"])
def test_development_publishes_ports_on_this_machine_only(name: str) -> None:
    ports = re.findall(r"ports:\n((?:\s+- .*\n)+)", read(name))
    published = [line.strip(' -"') for block in ports for line in block.splitlines()]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_the_servers_get_only_their_own_variables() -> None:
    """No container receives the whole src/.env, which has the application's secret key."""
    for name in ("docker-compose.yml", "docker-compose.servers.yml", "docker-compose.production.yml"):
        assert "env_file" not in read(name), name


def compose(name: str) -> Any:
    """A compose file, without the words that only Compose understands."""
    return yaml.safe_load(re.sub(r"!(?:reset|override)\b", "", read(name)))


def test_the_compose_files_fit_the_schema(tmp_path: Path) -> None:
    files = sorted(ROOT.glob("docker-compose*.yml"))
    copies = [tmp_path / file.name for file in files]
    for copy, file in zip(copies, files, strict=True):
        copy.write_text(yaml.safe_dump(compose(file.name)), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, copies)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_database_allows_the_connections_of_a_rolling_deploy() -> None:
    """Twice as many `web` containers, each with a process per core; and three connections that are reserved."""
    services = compose("docker-compose.production.yml")["services"]
    web = services["web"]["deploy"]
    processes = 2 * web["replicas"] * int(web["resources"]["limits"]["cpus"]) + 1
    pool = (Settings.model_fields[name].default for name in ("DATABASE_POOL_SIZE", "DATABASE_MAX_OVERFLOW"))
    allowed = int(services["db"]["command"][-1].removeprefix("max_connections="))
    assert processes * connections_per_process(*pool) <= allowed - 3


class TestPgBouncer:
    """docker-compose.pgbouncer.yml; `test_production_pgbouncer.py` runs its server."""

    OPTION = compose("docker-compose.pgbouncer.yml")
    SERVER = compose("docker-compose.pgbouncer-server.yml")["services"]["pgbouncer"]

    @pytest.mark.parametrize("service", ["web", "worker"])
    def test_processes_that_serve_connect_to_it_when_it_is_ready(self, service: str) -> None:
        changes = self.OPTION["services"][service]
        settings = PostgresSettings.model_validate(changes["environment"])
        address = (settings.POSTGRES_SERVER, settings.POSTGRES_PORT)
        assert address == ("pgbouncer", self.SERVER["environment"]["PORT"])
        assert settings.DATABASE_PGBOUNCER
        assert changes["depends_on"] == {"pgbouncer": {"condition": "service_healthy"}}
        assert f"/dev/tcp/127.0.0.1/{settings.POSTGRES_PORT}" in self.SERVER["healthcheck"]["test"][-1]

    def test_postgresql_allows_its_connections(self) -> None:
        command = compose("docker-compose.production.yml")["services"]["db"]["command"]
        assert self.SERVER["environment"]["POOL_SIZE"] <= int(command[-1].removeprefix("max_connections=")) - 3

    def test_it_can_open_a_file_for_each_connection(self) -> None:
        environment = self.SERVER["environment"]
        assert environment["MAX_CLIENTS"] + environment["POOL_SIZE"] < self.SERVER["ulimits"]["nofile"]

    def test_it_is_as_strict_as_the_application(self) -> None:
        web = compose("docker-compose.production.yml")["services"]["web"]
        for name in ("read_only", "cap_drop", "security_opt", "restart"):
            assert self.SERVER[name] == web[name], name
        assert self.SERVER["user"] == "10001:10001"
        assert "ports" not in self.SERVER

    def test_what_it_mounts_exists(self) -> None:
        """The folder of the file is `src`."""
        include = self.OPTION["include"]
        assert include == [{"path": "docker-compose.pgbouncer-server.yml", "project_directory": "src"}]
        script, secret = ((ROOT / "src" / mount.split(":")[0]).resolve() for mount in self.SERVER["volumes"])
        assert script.read_text(encoding="utf-8").startswith("#!/bin/sh")
        assert compose("docker-compose.production.yml")["secrets"]["postgres_password"]["file"] == (
            f"./{secret.relative_to(ROOT)}"
        )

    def test_its_script_gets_every_variable(self) -> None:
        """Those without a default; `password` and `folder` are its own."""
        used = set(re.findall(r"\$([A-Z_]+)", read("deploy/pgbouncer.sh")))
        assert used == set(self.SERVER["environment"])


DASHBOARD = json.loads(read("dev/telemetry/dashboard.json"))
ALERTS = yaml.safe_load(read("dev/telemetry/alerts.yaml"))["groups"][0]["rules"]
METRIC = re.compile(r"\b((?:app|db|http)_[a-z_]+?)(?:_bucket|_count|_sum)?(?=[{\[) ]|$)")


def documented_metrics() -> set[str]:
    """Their names in Prometheus."""
    found = re.findall(r"^\| `([a-z_.]+)` \| `([^`]+)` \|", read("docs/observability.md"), re.MULTILINE)
    totals = {"app.cache.requests", "app.cache.fills", "app.rate_limit.requests", "app.logins", "app.sessions.revoked"}
    suffixes = {name: "_seconds" if unit == "s" else "_total" if name in totals else "" for name, unit in found}
    return {name.replace(".", "_") + suffix for name, suffix in suffixes.items()}


def used_metrics(queries: Iterable[str]) -> set[str]:
    without_groups = (re.sub(r"\b(?:by|without) \([^)]*\)", "", re.sub(r"\{[^}]*\}", "", query)) for query in queries)
    return {name for query in without_groups for name in METRIC.findall(query)}


def test_the_dashboard_shows_every_metric_of_the_docs_and_no_other() -> None:
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    names = documented_metrics()
    names = {name.removesuffix("_count") if name == "db_client_connection_count" else name for name in names}
    assert used_metrics(queries) == names


def test_the_dashboard_has_the_form_of_grafanas_schema() -> None:
    """Each panel has its own id and place, and a source that the image of docker-compose.yml provides."""
    assert {"uid", "title", "schemaVersion", "time", "panels"} <= DASHBOARD.keys()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    for panel in DASHBOARD["panels"]:
        assert panel["type"] == "timeseries"
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_the_alerts_are_those_of_the_docs() -> None:
    page = read("docs/observability.md")
    assert len(ALERTS) == 3
    assert all(f"| `{rule['alert']}` |" in page and rule["expr"] in page for rule in ALERTS)
    assert all({"alert", "expr", "for", "annotations"} == rule.keys() for rule in ALERTS)
    names = {name.removesuffix("_count") for name in documented_metrics()}
    assert used_metrics(rule["expr"] for rule in ALERTS) <= names


def test_the_files_for_grafana_are_where_the_compose_file_mounts_them() -> None:
    service = compose("docker-compose.yml")["services"]["telemetry"]
    sources = [volume.partition(":")[0] for volume in service["volumes"]]
    targets = [volume.split(":")[1] for volume in service["volumes"]]
    assert all((ROOT / source).is_file() for source in sources)
    (provider,) = yaml.safe_load(read("dev/telemetry/dashboards.yaml"))["providers"]
    assert any(target.startswith(provider["options"]["path"] + "/") for target in targets)
