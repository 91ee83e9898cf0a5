"""What the tests share.

Servers and processes:
    isolation     keeps `src/.env` and the caller's variables out of the tests; imported before the application
    schedule      which file begins first when several processes share a run
    processes     the project's programs as processes: scripts, web servers, workers
    forks         many runs of one script in the time of a few
    topology      NGINX, gunicorn servers and a worker, as in production; `dns` is Docker's resolver in it
    own_route     the application with a limited POST route of its own
    tasks_worker  a worker whose tasks fail in every way

Callers:
    browser       a real Chromium
    tcp           a proxy whose two directions can be stopped, with TLS
    load          steady requests while something happens, and a report of them

What is tested:
    authorization who may do what, collected from the test files of the entities
    statements    the SQL that a request causes

Sources:
    readme        the code blocks of the README, and copies of the project
"""
