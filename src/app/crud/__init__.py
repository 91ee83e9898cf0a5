"""Data access, one module per entity; the statements decide what a request may read and change.

- `crud_base` has `CRUDBase`: FastCRUD, and the verbs `add`, `change`, `soft_delete`, `hard_delete` and `exists`, each
  one statement. The filters and the parent are its conditions, and what it returns decides between 200 and 404, so
  there is no moment between a check and its write. Where there was no such row, a second statement only chooses the
  error: the parent or the row. Soft-deleted rows are not visible, without a caller mentioning them.
- `targets` says which row a write means; `writes` builds the statements, once per shape. Below a parent they lock the
  parent for sharing: a post is written before or after its author's rename or deletion, never in between.
- `helper` has `Listing`: pages with exact totals and cursor windows, one statement each, planned once.
- Reads that every request needs are module constants, prepared statements in the entity's own module.

Each method takes the `Database`, which commits, or a session to be part of a unit of work. No method speaks HTTP:
`RowNotFoundError` and SQLAlchemy's `IntegrityError` are what it raises.

Not covered: rows of several tables in one statement, and the ORM's events; use a session for those.
"""
