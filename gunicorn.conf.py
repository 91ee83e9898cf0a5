"""How gunicorn serves the API. `gunicorn app.main:app` reads this file from the folder in which it is started.

Every value that depends on the machine comes from a variable; an argument on the command line wins over this file.
"""

import os
import runpy
from pathlib import Path

# Read as a file, because the application's packages need not be importable here.
available_cores = runpy.run_path(str(Path(__file__).parent / "src/app/core/cores.py"))["available_cores"]

bind = f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"  # noqa: S104 - a container's only way in

# A worker waits for the network without occupying a thread, so one per core is enough.
workers = int(os.environ.get("WEB_CONCURRENCY") or available_cores())
worker_class = "app.core.gunicorn_worker.LingeringWorker"

# After SIGTERM requests in flight have this long to end. Give the container longer (`stop_grace_period`).
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT_SECONDS", "30"))
# A worker whose event loop is blocked for so long is replaced.
timeout = 60
# Longer than NGINX keeps an idle connection (60 s): NGINX closes it, and no request is sent over a closed one.
keepalive = 75

# Recycling workers after so many requests cuts connections in use, and hides leaks.
max_requests = 0

# Heartbeats are written to a file; on a disk that is slow or read-only they would fail.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn makes a private file in it
control_socket_disable = True

# Only TRUSTED_PROXIES decides which proxies are trusted with the client's address.
forwarded_allow_ips = ""

# NGINX writes the access log.
accesslog = None
errorlog = "-"
logger_class = "app.core.gunicorn_logger.ServerLogger"
