"""What runs the container; the image contains this folder and `src`.

- `serve.sh` starts the API with gunicorn, or with uvicorn for development.
- `migrate.py` applies the migrations before a server that reloads.
- `check_health.py` is the health check of the image.
- `rolling_deploy.sh` replaces the running servers by new ones without losing a request; it runs outside of containers.
"""
