"""Limits: how often a caller may call, and how often a password may be guessed.

**Rate limits** (`limiter`, `script`). In any window of `period` seconds at most `limit` requests are admitted under one
key, whatever the number of processes, and none is refused under the limit. Redis keeps a list of admission times, which
one atomic script reads and extends in one round trip, by Redis's clock. A key is a user or an address together with a
rule's path; `app.api.rate_limiting` chooses it.

**Lockout** (`lockout`). For one account from one address at most `LOGIN_MAX_FAILURES` guesses are judged within
`LOGIN_LOCKOUT_SECONDS`, whatever the number of processes and cores: an attempt reserves its place before it is judged.

**When Redis fails.** Both share one connection and its circuit breaker, which only failures of the server open
(`app.core.redis`). Congestion in this process is never such a failure: what cannot be sent gets 503.

| Redis | requests | logins | `/ready` |
|---|---|---|---|
| does not respond | admitted uncounted, or 503 (`RATE_LIMIT_FAIL_OPEN`) | judged without a lock | 503 |
| is full (`maxmemory`) or read-only | refused over the limit, otherwise as above | locked pairs stay locked | 503 |

Not covered: a Redis that evicts keys (a `maxmemory-policy` other than `noeviction`) loses admissions and failures. A
request whose connection breaks while it is counted may be counted twice, so that fewer are admitted, never more.
"""
