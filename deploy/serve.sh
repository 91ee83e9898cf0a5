#!/bin/sh
# Starts the API in a container. SERVER selects how: `uvicorn` reloads on changes, `gunicorn` reads gunicorn.conf.py.
set -eu
case "${SERVER:-gunicorn}" in
    # Only TRUSTED_PROXIES decides which proxies are trusted with the client's address.
    uvicorn)
        # The start of the container applies new migrations, a reload does not.
        python -m deploy.migrate
        export CREATE_TABLES_ON_START=false
        exec uvicorn app.main:app --host 0.0.0.0 --port "${PORT:-8000}" --no-proxy-headers --reload --reload-dir src \
            --log-config src/app/core/uvicorn_logging.json
        ;;
    gunicorn) exec gunicorn app.main:app ;;
    *)
        echo "SERVER is \"$SERVER\": set it to uvicorn or gunicorn" >&2
        exit 2
        ;;
esac
