"""The rules for deploy/kubernetes notice what is missing, and its settings are settings of the application.

`make deploy-check` applies the rules and the schemas to what kubectl builds.
"""

import copy
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.config import Settings
from dev.kubernetes.objects import Object, Objects
from dev.kubernetes.overlays import with_components
from dev.kubernetes.rules import broken_rules
from tests.support.readme import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
BASE = FOLDER / "base"
OF_THE_SERVER = {"WEB_CONCURRENCY", "GRACEFUL_TIMEOUT_SECONDS"}


def variables(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE))


def production() -> Objects:
    """About what kubectl builds."""
    files = [file for file in sorted(BASE.glob("*.yaml")) if file.name != "kustomization.yaml"]
    objects: Objects = [document for file in files for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    for each in objects:
        for container in pod(each)["containers"] if "template" in each.get("spec", {}) else ():
            container["image"] = f"registry.example.com/product@sha256:{'0' * 64}"
    settings = variables(BASE / "settings.env") | variables(FOLDER / "overlays" / "production" / "settings.env")
    return [*objects, {"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": settings}]


def pod(workload: Object) -> Object:
    found: Object = workload["spec"]["template"]["spec"]
    return found


PRODUCTION = production()
MONITOR = FOLDER / "components" / "service-monitor"


def monitored() -> Objects:
    """With the component for Prometheus."""
    component = yaml.safe_load((MONITOR / "kustomization.yaml").read_text(encoding="utf-8"))
    objects = copy.deepcopy(PRODUCTION)
    for name in component["resources"]:
        objects += yaml.safe_load_all((MONITOR / name).read_text(encoding="utf-8"))
    (generator,) = component["configMapGenerator"]
    settings(objects).update(line.split("=") for line in generator["literals"])
    return objects


def named(objects: Objects, kind: str, name: str) -> Object:
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def web(objects: Objects) -> Any:
    return pod(named(objects, "Deployment", "web"))


def settings(objects: Objects) -> Any:
    return named(objects, "ConfigMap", "settings")["data"]


def without(objects: Objects, kind: str) -> None:
    objects[:] = [each for each in objects if each["kind"] != kind]


def test_the_files_break_no_rule() -> None:
    assert broken_rules(PRODUCTION) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda all_: web(all_)["containers"][0]["resources"]["limits"].pop("memory"), "limits of memory are missing"),
        (lambda all_: web(all_)["containers"][0].update(image="product:latest"), "not named by its digest"),
        (lambda all_: web(all_)["containers"][0].pop("readinessProbe"), "Deployment web: no readinessProbe"),
        (lambda all_: web(all_)["containers"][0].pop("securityContext"), "securityContext must be"),
        (lambda all_: web(all_)["securityContext"].pop("runAsNonRoot"), "runs as root"),
        (lambda all_: web(all_)["securityContext"].pop("seccompProfile"), "no seccomp profile"),
        (lambda all_: web(all_).pop("automountServiceAccountToken"), "can read a token"),
        (lambda all_: web(all_)["containers"][0].pop("lifecycle"), "SIGTERM comes before"),
        (lambda all_: settings(all_).update(GRACEFUL_TIMEOUT_SECONDS="40"), "must exceed 10 + 40"),
        (lambda all_: web(all_).pop("topologySpreadConstraints"), "all pods may be on one node"),
        (lambda all_: without(all_, "PodDisruptionBudget"), "Deployment worker: no PodDisruptionBudget"),
        (lambda all_: without(all_, "NetworkPolicy"), "none refuses connections"),
        (lambda all_: without(all_, "Job"), "none applies the migrations"),
        (lambda all_: settings(all_).pop("CREATE_TABLES_ON_START"), "pods must not migrate"),
        (lambda all_: settings(all_).update(ALLOWED_HOSTS="api.example.com"), "ALLOWED_HOSTS lacks web"),
        (lambda all_: settings(all_).update(DATABASE_POOL_SIZE="20"), "10 processes with 25 connections each"),
        (lambda all_: settings(all_).update(WEB_CONCURRENCY="2"), "17 processes with 9 connections each"),
    ],
)
def test_a_missing_precaution_is_reported(change: Callable[[Objects], object], problem: str) -> None:
    objects = copy.deepcopy(PRODUCTION)
    change(objects)
    assert problem in "\n".join(broken_rules(objects))


def test_the_component_for_prometheus_breaks_no_rule() -> None:
    assert broken_rules(monitored()) == []


def monitor(objects: Objects) -> Any:
    return named(objects, "ServiceMonitor", "application")["spec"]


def service(objects: Objects) -> Any:
    return named(objects, "Service", "worker-metrics")["spec"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda all_: monitor(all_).update(endpoint=[]), "unknown field endpoint"),
        (lambda all_: monitor(all_)["endpoints"][0].update(targetport=9100), "unknown field targetport"),
        (lambda all_: monitor(all_)["endpoints"][0].update(port=9100), "needs the name of a port"),
        (lambda all_: monitor(all_).pop("endpoints"), "needs the name of a port"),
        (lambda all_: monitor(all_).update(selector={}), "selects every Service"),
        (lambda all_: named(all_, "ServiceMonitor", "application").update(apiVersion="v1"), "apiVersion is not"),
        (lambda all_: settings(all_).pop("PROMETHEUS_PORT"), "the port 9100 is not PROMETHEUS_PORT (None)"),
        (lambda all_: service(all_)["ports"][0].update(targetPort=9200), "Service worker-metrics: the port 9200"),
        (lambda all_: service(all_)["ports"][0].update(name="http"), "worker: no ServiceMonitor reads its metrics"),
        (lambda all_: service(all_)["selector"].update({"a": "b"}), "worker: no ServiceMonitor reads its metrics"),
        (
            lambda all_: named(all_, "NetworkPolicy", "metrics")["spec"]["podSelector"]["matchExpressions"][0].update(
                values=["web"]
            ),
            "Deployment worker: no NetworkPolicy admits connections to the port 9100",
        ),
    ],
)
def test_metrics_that_prometheus_cannot_read_are_reported(change: Callable[[Objects], object], problem: str) -> None:
    objects = monitored()
    change(objects)
    assert problem in "\n".join(broken_rules(objects))


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_each_overlay_lists_every_component_as_a_comment(overlay: str) -> None:
    text = (FOLDER / "overlays" / overlay / "kustomization.yaml").read_text(encoding="utf-8")
    assert "components" not in yaml.safe_load(text)
    listed = yaml.safe_load(with_components(text))["components"]
    assert listed == [f"../../components/{folder.name}" for folder in sorted((FOLDER / "components").iterdir())]


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("settings.env")), ids=lambda file: file.parent.name)
def test_every_variable_is_a_setting(file: Path) -> None:
    names = {name.removesuffix("_FILE") for name in variables(file)}
    assert names
    assert names - OF_THE_SERVER <= set(Settings.model_fields)


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_the_settings_are_accepted(overlay: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = variables(BASE / "settings.env") | variables(FOLDER / "overlays" / overlay / "settings.env")
    for name, value in values.items():
        secret = tmp_path / Path(value).name
        if name.endswith("_FILE"):
            secret.write_text("0123456789abcdef" * 4, encoding="utf-8")
        monkeypatch.setenv(name, str(secret) if name.endswith("_FILE") else value)
    assert overlay == Settings().ENVIRONMENT


def test_the_grace_period_is_that_of_gunicorn() -> None:
    patience = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["graceful_timeout"]
    assert settings(PRODUCTION)["GRACEFUL_TIMEOUT_SECONDS"] == str(patience)


def test_the_worker_starts_as_with_docker_compose() -> None:
    container = pod(named(PRODUCTION, "Deployment", "worker"))["containers"][0]
    command = " ".join([*container["command"], *container["args"]])
    assert f"command: {command}\n" in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
