"""What the tests share and is not a test.

Servers and processes:
    isolation     keeps `src/.env` and the caller's variables out of the tests; imported before the application
    processes     the project's programs as processes: scripts, web servers, workers
    topology      NGINX, gunicorn servers and a worker, as in production; `dns` is Docker's resolver in it
    tasks_worker  a worker whose tasks fail in every way

Callers:
    browser       a real Chromium
    load          steady requests while something happens, and a report of them

Sources:
    readme        the code blocks of the README, and copies of the project
"""
