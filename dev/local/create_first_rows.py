"""Both scripts that create first rows in one process, which saves loading the application twice."""

import sys

from src.scripts import create_first_superuser, create_first_tier

if __name__ == "__main__":
    sys.exit(create_first_superuser.main() or create_first_tier.main())
