"""python -m dev.kubernetes, by the Python of .tools/deploy"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from dev.kubernetes.rules import Objects, broken_rules

VERSION = "1.34"
"""The oldest version of Kubernetes that the objects are for."""
FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
"""The package has it for Linux on x86-64; elsewhere it is yours."""
CUSTOM = ("external-secrets.io/", "monitoring.coreos.com/")


def build(overlay: Path) -> Objects:
    """The objects that `kubectl apply --kustomize` would send."""
    if not KUBECTL:
        raise SystemExit("kubectl is missing: install it (https://kubernetes.io/docs/tasks/tools/)")
    command = [KUBECTL, "kustomize", str(overlay)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)
    return list(yaml.safe_load_all(result.stdout))


def schema_error(document: dict[str, Any]) -> str | None:
    """What Kubernetes would refuse."""
    if document["apiVersion"].startswith(CUSTOM):
        return None
    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{document['kind']} {document['metadata']['name']}: {error.message}"
    return None


def main() -> int:
    """Returns the exit status."""
    failed = False
    for overlay in sorted((FOLDER / "overlays").iterdir()):
        objects = build(overlay)
        problems = [*filter(None, map(schema_error, objects)), *broken_rules(objects)]
        print(f"{overlay.name}: {len(objects)} objects, {len(problems)} problems", *problems, sep="\n  ")
        failed = failed or bool(problems)
    return failed


if __name__ == "__main__":
    sys.exit(main())
