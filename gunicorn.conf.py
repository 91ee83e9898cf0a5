"""gunicorn's settings. `gunicorn app.main:app` reads this file from the current directory.

Values that depend on the machine come from environment variables. Command line arguments take precedence.
"""

import os
import runpy
from pathlib import Path

# Run as a file, because the application's packages may not be importable here.
available_cores = runpy.run_path(str(Path(__file__).parent / "src/app/core/cores.py"))["available_cores"]

bind = f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"  # noqa: S104 - a container's only way in

# A worker waits for the network without occupying a thread, so one per core is enough.
workers = int(os.environ.get("WEB_CONCURRENCY") or available_cores())
worker_class = "app.core.gunicorn_worker.LingeringWorker"

# How long requests in flight may run after SIGTERM. The container's `stop_grace_period` must be longer.
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT_SECONDS", "30"))
# A worker whose event loop is blocked for this time is replaced.
timeout = 60
# Longer than NGINX keeps an idle connection (60 s). NGINX closes it first, so no request is sent over a closed one.
keepalive = 75

# Restarting workers after a number of requests would close connections in use and hide memory leaks.
max_requests = 0

# Workers write heartbeats to a file, which fails on a slow or read-only disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn makes a private file in it
control_socket_disable = True

# Only TRUSTED_PROXIES decides which proxies are trusted with the client's address.
forwarded_allow_ips = ""

# NGINX writes the access log.
accesslog = None
errorlog = "-"
logger_class = "app.core.gunicorn_logger.ServerLogger"
# Where the two classes above are, wherever gunicorn is started and whatever is installed.
pythonpath = str(Path(__file__).parent / "src")
