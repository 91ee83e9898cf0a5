"""The optional components of an overlay, which are comments in its `kustomization.yaml`."""

import re

_COMPONENTS = re.compile(r"^# components:\n(?:#   - .*\n)+", re.MULTILINE)


def with_components(kustomization: str) -> str:
    """The file as it is when the comment signs of the components are removed."""
    text, found = _COMPONENTS.subn(lambda match: re.sub("^# ", "", match[0], flags=re.MULTILINE), kustomization)
    if not found:
        raise ValueError("the components are not listed as a comment")
    return text
