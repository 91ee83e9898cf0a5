"""The parts of the local runner: processes, the servers' programs, the environment of the children, the supervisor."""

import sys

if sys.platform == "win32":
    raise SystemExit("The local servers do not run on Windows itself: use WSL, or Docker Compose as the README shows.")
