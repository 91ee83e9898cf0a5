"""What kubectl builds, and how the rules look into it."""

from collections.abc import Iterator
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
Objects: TypeAlias = list[Object]


def of_kind(objects: Objects, *kinds: str) -> Objects:
    return [each for each in objects if each["kind"] in kinds]


def name_of(each: Object) -> str:
    return f"{each['kind']} {each['metadata']['name']}"


def pod_of(workload: Object) -> Object:
    pod: Object = workload["spec"]["template"]["spec"]
    return pod


def containers(objects: Objects) -> Iterator[tuple[Object, Object]]:
    """Each container with its workload."""
    for workload in of_kind(objects, "Deployment", "Job"):
        for container in [*pod_of(workload)["containers"], *pod_of(workload).get("initContainers", [])]:
            yield workload, container


def settings_of(objects: Objects) -> dict[str, str]:
    return {name: value for each in of_kind(objects, "ConfigMap") for name, value in each["data"].items()}
