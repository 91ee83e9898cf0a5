"""Checks deploy/kubernetes without a cluster (`make deploy-check`).

kubectl builds each overlay. Its objects are compared with the schemas of Kubernetes (an unknown field is an error) and
with the rules in `rules.py`. There are no schemas here for objects of other API groups (`ExternalSecret`,
`ServiceMonitor`): these are built, but not compared. Nothing is deployed.
"""
