"""What an overlay must have beyond a valid schema. A rule yields one sentence for each violation."""

import re
from collections.abc import Callable, Iterator

from app.core.db.demand import connections_per_process
from dev.kubernetes.monitoring import monitoring
from dev.kubernetes.objects import Object, Objects, containers, name_of, of_kind, pod_of, settings_of

_BY_DIGEST = re.compile(r"[^@]+@sha256:[0-9a-f]{64}")
_CONNECTIONS_OF_POSTGRESQL = 97
"""`max_connections` is 100 by default, of which 3 are for superusers."""


def resources(objects: Objects) -> Iterator[str]:
    for workload, container in containers(objects):
        for bound in ("requests", "limits"):
            missing = {"cpu", "memory"} - set(container.get("resources", {}).get(bound, {}))
            if missing:
                yield f"{name_of(workload)}: {bound} of {', '.join(sorted(missing))} are missing"


def images(objects: Objects) -> Iterator[str]:
    for workload, container in containers(objects):
        if not _BY_DIGEST.fullmatch(container["image"]):
            yield f"{name_of(workload)}: the image {container['image']} is not named by its digest"


def probes(objects: Objects) -> Iterator[str]:
    for workload in of_kind(objects, "Deployment"):
        needed = {"startupProbe", "livenessProbe"}
        for container in pod_of(workload)["containers"]:
            is_server = bool(container.get("ports"))
            for probe in sorted((needed | {"readinessProbe"} if is_server else needed) - set(container)):
                yield f"{name_of(workload)}: no {probe}"


def privileges(objects: Objects) -> Iterator[str]:
    wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    for workload, container in containers(objects):
        if container.get("securityContext") != wanted:
            yield f"{name_of(workload)}: the container's securityContext must be {wanted}"
        context = pod_of(workload).get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield f"{name_of(workload)}: runs as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name_of(workload)}: no seccomp profile"
        if pod_of(workload).get("automountServiceAccountToken") is not False:
            yield f"{name_of(workload)}: can read a token of the cluster's API"


def graceful_stop(objects: Objects) -> Iterator[str]:
    """The pod lives longer than the wait before SIGTERM and gunicorn's own patience together."""
    patience = int(settings_of(objects).get("GRACEFUL_TIMEOUT_SECONDS", "30"))
    for workload in of_kind(objects, "Deployment"):
        for container in pod_of(workload)["containers"]:
            if not container.get("ports"):
                continue
            wait = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            grace = pod_of(workload).get("terminationGracePeriodSeconds", 30)
            if wait < 5:
                yield f"{name_of(workload)}: SIGTERM comes before the Service knows that the pod stops (preStop)"
            if grace <= wait + patience:
                yield f"{name_of(workload)}: terminationGracePeriodSeconds {grace} must exceed {wait} + {patience}"


def disruptions(objects: Objects) -> Iterator[str]:
    covered = [each["spec"]["selector"]["matchLabels"] for each in of_kind(objects, "PodDisruptionBudget")]
    for workload in of_kind(objects, "Deployment"):
        if workload["spec"]["selector"]["matchLabels"] not in covered:
            yield f"{name_of(workload)}: no PodDisruptionBudget"
        if not pod_of(workload).get("topologySpreadConstraints"):
            yield f"{name_of(workload)}: all pods may be on one node"


def network(objects: Objects) -> Iterator[str]:
    """One policy refuses what no other one allows, for all pods of the application."""
    labels = [set(workload["spec"]["template"]["metadata"]["labels"].items()) for workload, _ in containers(objects)]
    for policy in of_kind(objects, "NetworkPolicy"):
        selected = set(policy["spec"]["podSelector"].get("matchLabels", {}).items())
        refuses = set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"} and not policy["spec"].get("ingress")
        if refuses and all(selected <= pod for pod in labels):
            return
    yield "NetworkPolicy: none refuses connections to all pods"


def migrations(objects: Objects) -> Iterator[str]:
    if settings_of(objects).get("CREATE_TABLES_ON_START") != "false":
        yield "ConfigMap settings: pods must not migrate (CREATE_TABLES_ON_START=false)"
    if not any("alembic" in container["command"] for job, container in containers(objects) if job["kind"] == "Job"):
        yield "Job: none applies the migrations"


def hosts(objects: Objects) -> Iterator[str]:
    """The names that clients and probes use are accepted by ALLOWED_HOSTS."""
    accepted = settings_of(objects).get("ALLOWED_HOSTS", "*").split(",")
    used = {rule["host"] for each in of_kind(objects, "Ingress") for rule in each["spec"]["rules"]}
    for _, container in containers(objects):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            request = container.get(probe, {}).get("httpGet", {})
            used |= {header["value"] for header in request.get("httpHeaders", []) if header["name"] == "Host"}
    if "*" not in accepted:
        yield from (f"ALLOWED_HOSTS lacks {host}" for host in sorted(used - set(accepted)))


def _processes(workload: Object, settings: dict[str, str]) -> int:
    """Of one pod: only a server has several."""
    is_server = any(container.get("ports") for container in pod_of(workload)["containers"])
    return int(settings.get("WEB_CONCURRENCY", "1")) if is_server else 1


def connections(objects: Objects) -> Iterator[str]:
    """During a rollout of everything, PostgreSQL accepts the connections of all processes."""
    settings = settings_of(objects)
    if settings.get("DATABASE_PGBOUNCER", "false") != "false":
        return
    each_opens = connections_per_process(
        int(settings.get("DATABASE_POOL_SIZE", "10")), int(settings.get("DATABASE_MAX_OVERFLOW", "10"))
    )
    most = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]["maxReplicas"]
        for each in of_kind(objects, "HorizontalPodAutoscaler")
    }
    processes = sum(
        (most.get(each["metadata"]["name"], each["spec"].get("replicas", 1)) + 1) * _processes(each, settings)
        for each in of_kind(objects, "Deployment")
    )
    if processes * each_opens > _CONNECTIONS_OF_POSTGRESQL:
        yield f"{processes} processes with {each_opens} connections each are more than {_CONNECTIONS_OF_POSTGRESQL}"


RULES: tuple[Callable[[Objects], Iterator[str]], ...] = (
    resources,
    images,
    probes,
    privileges,
    graceful_stop,
    disruptions,
    network,
    migrations,
    hosts,
    connections,
    monitoring,
)


def broken_rules(objects: Objects) -> list[str]:
    return [problem for rule in RULES for problem in rule(objects)]
