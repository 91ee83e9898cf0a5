"""Gives the project another name: `make rename NAME="My Product" HOLDER="My Company"`.

python -m dev.rename "My Product" [--holder "My Company"] [--force]      (needs nothing installed)

`PLACES` are all the places of the name, and `HOLDER` is that of the license's holder. They are found by what surrounds
them, not by the present name: so the command can run again, with the same name or with another one.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

ROOT = Path(__file__).resolve().parents[1]
PLACES: Mapping[str, Sequence[str]] = {
    "README.md": (
        r'(?<=<h1 align="center">)(?P<title>.+)(?=</h1>)',
        r"(?<=^\*\*)(?P<title>[^*]+)(?=\*\* is an extendable)",
        r"(?<=^\| `APP_NAME` \| `)(?P<title>[^`]+)(?=`)",
    ),
    "src/app/core/config.py": (r'(?<=^    APP_NAME: str = ")(?P<title>.+)(?="$)',),
    "src/.env.example": (r'(?<=^APP_NAME=")(?P<title>.+)(?="$)',),
    ".devcontainer/devcontainer.json": (r'(?<=^  "name": ")(?P<title>.+)(?=",$)',),
    "pyproject.toml": (r'(?<=^name = ")(?P<slug>[\w.-]+)(?="$)',),
    "docker-compose.yml": (r"(?<=^name: )(?P<slug>\S+)$", r"(?<=^  image: \$\{IMAGE:-)(?P<slug>[^}]+)(?=\}$)"),
    "tests/compose/conftest.py": (
        r'(?<="COMPOSE_PROJECT_NAME": f")(?P<slug>[a-z0-9-]+)(?=-\{name\}")',
        r'(?<="IMAGE": f")(?P<slug>[a-z0-9-]+)(?=-\{name\}")',
    ),
    "tests/compose/test_development.py": (r'(?<=")(?P<slug>[a-z0-9-]+)(?=-development"\))',),
}
HOLDER = re.compile(r"(?m)(?<=^Copyright \(c\) )(?P<year>\d{4}) (?P<holder>.+)$")
_NAME = re.compile(r"[\w .,'+-]{1,60}")


class RenameError(Exception):
    """Why the name cannot be given, in one line."""


def slug_of(name: str) -> str:
    """The name as packages and images have it: `my-product`; raises `RenameError` if nothing is left of it."""
    letters = normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")
    if not _NAME.fullmatch(name) or name != name.strip() or not slug[:1].isalpha():
        form = "1 to 60 letters, digits, spaces and . , ' + - _, with a letter from a to z first"
        raise RenameError(f'NAME={name!r} cannot be used: {form}, as in NAME="My Product"')
    return slug


def renamed(root: Path, name: str, holder: str | None) -> dict[str, str]:
    """The new texts of the files that change; raises `RenameError` if a place is not there or not clear."""
    values = {"title": name, "slug": slug_of(name)}
    texts = {file: (root / file).read_text(encoding="utf-8") for file in PLACES if (root / file).is_file()}
    changed = dict(texts)
    for file in texts:
        for expression in PLACES[file]:
            found = list(re.finditer(expression, changed[file], re.MULTILINE))
            if len(found) != 1:
                raise RenameError(f"{file}: the name is expected once, and is there {len(found)} times: {expression}")
            kind = next(iter(found[0].groupdict()))
            start, end = found[0].span()
            changed[file] = changed[file][:start] + values[kind] + changed[file][end:]
    if holder:
        texts["LICENSE.md"] = license_text = (root / "LICENSE.md").read_text(encoding="utf-8")
        changed["LICENSE.md"] = HOLDER.sub(lambda line: f"{line['year']} {holder}", license_text)
    return {file: text for file, text in changed.items() if text != texts[file]}


def present_holder(root: Path) -> str:
    found = HOLDER.search((root / "LICENSE.md").read_text(encoding="utf-8"))
    return found["holder"] if found else ""


def _asked_holder() -> str | None:
    """The answer of the person at the terminal; None where there is nobody, or they keep the present holder."""
    if not sys.stdin.isatty():
        return None
    return input(f"Who holds the copyright of the license? [{present_holder(ROOT)}] ").strip() or None


def _is_clean() -> bool:
    command = ["git", "status", "--porcelain"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.returncode == 0 and not result.stdout


def _rename(name: str, holder: str | None) -> None:
    changed = renamed(ROOT, name, holder)
    for file, text in changed.items():
        (ROOT / file).write_text(text, encoding="utf-8")
    if not changed:
        print(f"the project is called {name} already; nothing is changed")
        return
    print(f"the project is called {name}, its package and image {slug_of(name)}: changed {', '.join(changed)}")
    print("Docker Compose starts with new, empty volumes, because they are named after the project")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make rename", description="Gives the project another name.")
    parser.add_argument("name", help="as people read it: My Product")
    parser.add_argument("--holder", help="the holder of the license's copyright; asked for if it is not given")
    parser.add_argument("--force", action="store_true", help="although there are changes that are not committed")
    options = parser.parse_args(arguments)
    try:
        slug_of(options.name)
        if not options.force and not _is_clean():
            raise RenameError("there are changes that are not committed: commit them, or add FORCE=1")
        _rename(options.name, options.holder or _asked_holder())
    except RenameError as error:
        print(f"{error}\nnothing is changed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
