"""Both scripts that create first rows in one process, which saves importing the application twice."""

import sys
from typing import TYPE_CHECKING

from dev.local.children import OTHER_PASSWORD
from src.scripts.create_first_superuser import create_superuser
from src.scripts.create_first_tier import create_tier
from src.scripts.first_rows import run

if TYPE_CHECKING:
    from app.core.db.database import Database


def main() -> int:
    """Returns the exit status."""
    can_log_in = []

    async def create(database: "Database") -> str:
        superuser = await create_superuser(database)
        can_log_in.append(superuser.can_log_in)
        return f"{superuser.line}; {await create_tier(database)}"

    return run(create) or (0 if all(can_log_in) else OTHER_PASSWORD)


if __name__ == "__main__":
    sys.exit(main())
