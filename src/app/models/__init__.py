"""One module per entity. Alembic finds every module of this package automatically."""
