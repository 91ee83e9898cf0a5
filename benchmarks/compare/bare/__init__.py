"""The comparison application: one ASGI function, asyncpg, redis-py and orjson; no framework and no validation.

It serves the eight scenarios with the same rows, bytes and headers as the template. What it does not leave out: tokens
are verified and looked up, requests are limited (a fixed window), a write drops what was cached, a task is one that
arq's worker runs. What it leaves out is most of the contract: it validates nothing, survives no outage, lets a slow
read put an old state back into the cache, and its errors are exceptions.

`app` is the function, `http` what it needs of HTTP and tokens, `statements` its SQL.
"""
