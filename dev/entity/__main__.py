"""python -m dev.entity add NAME "title:str(2..80) price:decimal(0..)"."""

import argparse
import sys
from pathlib import Path

from dev.entity.commands import add, remove
from dev.entity.errors import EntityError

ROOT = Path(__file__).resolve().parents[2]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.entity", description=__doc__)
    parser.add_argument("command", choices=["add", "remove"])
    parser.add_argument("name", help="in lower case, one of them: order_item")
    parser.add_argument("fields", nargs="?", default="", help="title:str(2..80) price:decimal(0..) owner:user")
    parser.add_argument("--plural", default="", help="if it is irregular: people")
    parser.add_argument("--force", default="", help="any text: although there are changes that are not committed")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Returns the exit status."""
    options = _parse(arguments)
    try:
        if options.command == "add":
            lines = add(root, options.name, options.fields, options.plural, force=bool(options.force))
        else:
            lines = remove(root, options.name, options.plural, force=bool(options.force))
    except EntityError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
