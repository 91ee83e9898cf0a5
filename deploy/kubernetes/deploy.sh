#!/bin/sh
# Rolls a new version out on the current cluster: settings, migrations, and only then the pods.
#   sh deploy/kubernetes/deploy.sh production
set -eu
overlay=$(dirname "$0")/overlays/${1:?which overlay: staging or production}
namespace=$1

kubectl --namespace "$namespace" delete job migrate --ignore-not-found
kubectl apply --kustomize "$overlay" --selector "app.kubernetes.io/component in (configuration, migrate)"
if ! kubectl --namespace "$namespace" wait --for=condition=complete --timeout=600s job/migrate; then
    kubectl --namespace "$namespace" logs job/migrate --tail=50 >&2
    echo "The migrations failed; the previous version continues to run." >&2
    exit 1
fi
kubectl apply --kustomize "$overlay"
for deployment in web worker; do
    kubectl --namespace "$namespace" rollout status "deployment/$deployment" --timeout=600s
done
