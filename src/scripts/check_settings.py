"""Checks whether the application can start with these settings, and prints every problem.

python -m src.scripts.check_settings
"""

import sys


def main() -> int:
    """Returns the exit status; unusable settings end the import with their reasons and status 1."""
    from app.core.config import settings  # noqa: PLC0415 - reading them is the check

    print(f"the settings can be used (ENVIRONMENT={settings.ENVIRONMENT})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
