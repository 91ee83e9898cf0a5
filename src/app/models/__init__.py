"""One module an entity. Alembic finds every module of this package by itself."""
