"""The code blocks of the README, so that the tests run what users paste."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
_HEADING = re.compile(r"^#{2,4} (?P<title>.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def copy_project(folder: Path, *caches: str) -> Path:
    """A copy of the code and the tests below the folder, in a path with a space, that a test may change.

    The bytecode is copied too, and the folders named as caches if they exist.
    """
    project = folder / "a project"
    unwanted = shutil.ignore_patterns(".env", "*.log")
    for part in ("src", "dev", "tests", *(cache for cache in caches if (ROOT / cache).exists())):
        shutil.copytree(ROOT / part, project / part, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", project)
    return project


def chapter(title: str, document: Path = README) -> str:
    """The text from the heading that begins with `title` up to the next heading."""
    # A comment in a block looks like a heading.
    text = document.read_text(encoding="utf-8")
    outside = _BLOCK.sub(lambda block: block[0].replace("\n#", "\n\x00"), text)
    headings = list(_HEADING.finditer(outside))
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        if heading["title"].startswith(title):
            return text[heading.end() : following.start() if following else len(text)]
    raise LookupError(f"{document.name} has no heading {title!r}")


def blocks(title: str, language: str, document: Path = README) -> list[str]:
    """The code of the chapter's fenced blocks in this language, in order; there is at least one."""
    found = [match["code"] for match in _BLOCK.finditer(chapter(title, document)) if match["language"] == language]
    if not found:
        raise LookupError(f"chapter {title!r} of {document.name} has no {language} block")
    return found
