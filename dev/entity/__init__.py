"""`make entity` and `make entity-remove`: the code of README chapters 5.3 to 5.7, for an entity of your own.

- `names` and `fields` read NAME and FIELDS; `kinds` has a function for each type of field.
- `templates` are the files as they will be written. `render` fills them, `python` lays the result out as ruff does.
- `code` and `examples` fill the places that depend on the fields; `migration` writes what Alembic would.
- `project` says what the project has already, `commands` carries a command out: all files are written, or none.
- `readme` puts the code of the example entity into the README; a test compares them.
- `trial` makes random entities in a copy of the project, and runs its checks and the new tests.

Nothing else uses this package: without it only its make targets and tests are missing.
"""
