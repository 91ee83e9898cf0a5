"""A log line per request.

`collector` collects an entry per request and writes the lines together, outside of the requests; `lines` formats them.
docs/observability.md has the fields. `LOG_REQUESTS=false` switches it off.
"""
