"""Puts the code of the example entity into README chapters 5.3 to 5.7: python -m dev.entity.readme."""

import re
import sys
from pathlib import Path

from dev.entity.commands import contents
from dev.entity.entity import Entity
from dev.entity.fields import parse_fields
from dev.entity.names import Names
from dev.entity.project import ROUTERS, find_entity, paths_of

ROOT = Path(__file__).resolve().parents[2]
README = Path("README.md")
EXAMPLE = ("entity", "name:str(2..30)! note:str(..200)?")
"""NAME and FIELDS."""


def example(root: Path = ROOT) -> dict[Path, str]:
    """The files of the example entity, without its migration; of the routers' file only the lines that are new."""
    name, fields = EXAMPLE
    names = Names.of(name)
    entity: Entity = find_entity(root, names, parse_fields(fields))
    code = contents(root, entity)
    known = (root / ROUTERS).read_text(encoding="utf-8").splitlines()
    new = [line for line in (code[ROUTERS] or "").splitlines() if line not in known]
    return {path: code[path] or "" for path in paths_of(names).values()} | {ROUTERS: "\n\n".join(new) + "\n"}


def block(path: Path, code: str) -> str:
    """As the README shows a file: its name is the first line."""
    return f"```python\n# {path}\n{code}```\n"


def replaced(text: str, code: dict[Path, str]) -> str:
    """The README with the code; of the routers' file, which other chapters show too, the first block."""
    for path, content in code.items():
        pattern = re.compile(rf"^```python\n# {re.escape(str(path))}\n.*?^```\n", re.MULTILINE | re.DOTALL)
        if found := pattern.search(text):
            text = text[: found.start()] + block(path, content) + text[found.end() :]
    return text


def main() -> int:
    """Returns the exit status."""
    readme = ROOT / README
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), example()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
