"""The database of a process: `Database`, which is opened once, and how it behaves.

`app.core.db.database` is the public module: `open_database` opens it when the process starts, `get_database` and
`async_get_db` are its dependencies. Everything else goes through it, except migrations, and code that opens a separate
connection with `engine.connect`.

- **Single statements.** `fetch_one` and `fetch_all` read, `execute` writes. A statement is SQLAlchemy Core's, built
  once as a module constant with `bindparam`; `statements` compiles it once and converts values by its types; asyncpg
  runs it and commits it. One round trip, and no connection is held across two of them.
- **Units of work.** `sessions` are SQLAlchemy's, for everything that needs several statements in one transaction, and
  for FastCRUD. What is not committed is rolled back.
- **Connections.** Both share `pool`: at most DATABASE_POOL_SIZE + DATABASE_MAX_OVERFLOW, of any age up to half an hour.
  A connection that the server has closed is replaced before it is used. A read is run again once if its connection
  turns out to be lost; a write never is. If no connection becomes free within five seconds, the
  caller gets `PoolTimeoutError`: this is congestion, not an outage.
- **Failover.** Of several servers in POSTGRES_SERVER only one that accepts writes is used (`connector`). While there is
  none, callers get an error that means 503.
- **Replica.** `read_database` lets a replica serve reads that it can serve as well as the primary, if there is one.
- **Their number** in all processes together is compared with what PostgreSQL allows when a process starts (`budget`).
- **Bounds in time.** PostgreSQL ends statements, waits for locks and idle transactions by DATABASE_..._TIMEOUT_SECONDS;
  if the server does not respond at all, the client gives up five seconds later. Migrations have no such limits.
- **Errors.** `errors` decides which are temporary (503) and which mean that the database is unavailable. Single
  statements and sessions both raise SQLAlchemy's classes, so a violated constraint is always an `IntegrityError`.
- **PgBouncer** in transaction mode: with DATABASE_PGBOUNCER no prepared statement outlives its transaction.

Not covered: two databases, and statements with several sets of parameters, for which a session's
`execute` is right.
"""
