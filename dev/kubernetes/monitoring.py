"""The shape of a ServiceMonitor, whose schema is not among those of Kubernetes, and whether it reaches every pod."""

from collections.abc import Iterator

from dev.kubernetes.objects import Object, Objects, name_of, of_kind, settings_of

_SPEC = {"selector", "endpoints", "namespaceSelector", "jobLabel", "targetLabels", "podTargetLabels", "sampleLimit"}
_ENDPOINT = {"port", "path", "interval", "scrapeTimeout", "scheme", "honorLabels", "relabelings", "metricRelabelings"}
"""Fields of monitoring.coreos.com/v1 that the rules know; there are more."""


def _labels(each: Object) -> dict[str, str]:
    found: dict[str, str] = each["metadata"].get("labels", {})
    return found


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    """As a label selector of Kubernetes does; of the operators only `In`."""
    wanted = selector.get("matchLabels", {})
    one_of = {each["key"]: each["values"] for each in selector.get("matchExpressions", [])}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(key) in values for key, values in one_of.items()
    )


def _shape(monitor: Object) -> Iterator[str]:
    spec = monitor["spec"]
    endpoints = spec.get("endpoints", [])
    unknown = [*(set(spec) - _SPEC), *(name for each in endpoints for name in set(each) - _ENDPOINT)]
    yield from (f"{name_of(monitor)}: unknown field {name}" for name in sorted(unknown))
    if monitor["apiVersion"] != "monitoring.coreos.com/v1":
        yield f"{name_of(monitor)}: the apiVersion is not monitoring.coreos.com/v1"
    if not spec.get("selector", {}).get("matchLabels"):
        yield f"{name_of(monitor)}: selects every Service"
    if not endpoints or not all(isinstance(each.get("port"), str) for each in endpoints):
        yield f"{name_of(monitor)}: each of the endpoints needs the name of a port"


def _read_ports(objects: Objects, monitor: Object) -> Iterator[tuple[Object, object]]:
    """Each Service that the monitor reads, with the port of its pods."""
    wanted = {each.get("port") for each in monitor["spec"].get("endpoints", [])}
    for service in of_kind(objects, "Service"):
        if _selects(monitor["spec"].get("selector", {}), _labels(service)):
            for port in service["spec"]["ports"]:
                if port["name"] in wanted:
                    yield service, port.get("targetPort", port["port"])


def _admits(objects: Objects, labels: dict[str, str], port: object) -> bool:
    return any(
        _selects(policy["spec"]["podSelector"], labels) and allowed["port"] == port
        for policy in of_kind(objects, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for allowed in rule.get("ports", [])
    )


def monitoring(objects: Objects) -> Iterator[str]:
    """If there is a ServiceMonitor, Prometheus reads the metrics of all pods."""
    monitors = of_kind(objects, "ServiceMonitor")
    yield from (problem for monitor in monitors for problem in _shape(monitor))
    served = settings_of(objects).get("PROMETHEUS_PORT")
    read = [found for monitor in monitors for found in _read_ports(objects, monitor)]
    yield from (
        f"{name_of(service)}: the port {port} is not PROMETHEUS_PORT ({served})"
        for service, port in read
        if str(port) != served
    )
    for workload in of_kind(objects, "Deployment") if monitors else ():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        ports = [port for service, port in read if service["spec"]["selector"].items() <= labels.items()]
        if not ports:
            yield f"{name_of(workload)}: no ServiceMonitor reads its metrics"
        yield from (
            f"{name_of(workload)}: no NetworkPolicy admits connections to the port {port}"
            for port in ports
            if not _admits(objects, labels, port)
        )
