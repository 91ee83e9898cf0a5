"""python -m dev.kubernetes, by the Python of .tools/deploy"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kubernetes_validate
import yaml

from dev.kubernetes.objects import Objects
from dev.kubernetes.overlays import with_components
from dev.kubernetes.rules import broken_rules

VERSION = "1.34"
"""The oldest version of Kubernetes that the objects are for."""
FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
"""The package has it for Linux on x86-64; elsewhere it is yours."""
CUSTOM = ("external-secrets.io/", "monitoring.coreos.com/")


def build(overlay: Path) -> Objects:
    """The objects that `kubectl apply --kustomize` sends."""
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


def has_problems(overlay: Path, name: str) -> bool:
    """Whether Kubernetes or a rule would refuse something; prints what."""
    objects = build(overlay)
    problems = [*filter(None, map(schema_error, objects)), *broken_rules(objects)]
    print(f"{name}: {len(objects)} objects, {len(problems)} problems", *problems, sep="\n  ")
    return bool(problems)


def main() -> int:
    """Returns the exit status. Each overlay is checked twice, the second time with its optional components."""
    overlays = sorted((FOLDER / "overlays").iterdir())
    found = [has_problems(overlay, overlay.name) for overlay in overlays]
    with TemporaryDirectory() as folder:
        copy = shutil.copytree(FOLDER, Path(folder) / FOLDER.name) / "overlays"
        for overlay in overlays:
            kustomization = copy / overlay.name / "kustomization.yaml"
            kustomization.write_text(with_components(kustomization.read_text(encoding="utf-8")), encoding="utf-8")
            found.append(has_problems(kustomization.parent, f"{overlay.name} with components"))
    return any(found)


if __name__ == "__main__":
    sys.exit(main())
