#!/bin/sh
# Starts the API in a container. SERVER says how: `uvicorn` reloads on changes, `gunicorn` reads gunicorn.conf.py.
set -eu
case "${SERVER:-gunicorn}" in
    # Whom to believe about the client's address is TRUSTED_PROXIES' business alone.
    uvicorn) exec uvicorn app.main:app --host 0.0.0.0 --port "${PORT:-8000}" --no-proxy-headers --reload --reload-dir src ;;
    gunicorn) exec gunicorn app.main:app ;;
    *)
        echo "SERVER is \"$SERVER\": set it to uvicorn or gunicorn" >&2
        exit 2
        ;;
esac
