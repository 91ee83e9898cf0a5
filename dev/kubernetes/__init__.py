"""Checks deploy/kubernetes without a cluster (`make deploy-check`).

kubectl builds each overlay, without and with the optional components. The objects are compared with the schemas of
Kubernetes (an unknown field is an error) and with the rules in `rules.py`. There are no schemas here for objects of
other API groups: the rules in `monitoring.py` have the shape of a `ServiceMonitor`, and an `ExternalSecret` is built,
but not compared. Nothing is deployed.
"""
