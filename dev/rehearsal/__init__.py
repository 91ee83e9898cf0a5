"""`make rehearsal`: merges the present template into a product, and runs the previous code on the present schema.

The folder can be deleted as a whole.

- `versions` names the previous version. A release changes it (CONTRIBUTING.md).
- `product` makes a product of that version, in a temporary clone: it gives it a name, removes the posts, adds an entity
  and edits the files that products edit. `edits` are these edits.
- `database` is a PostgreSQL with data that `calls` has written through the API, first of the version, then of the
  product.
- `merging` merges the current commit with `dev.upgrade` and resolves what docs/upgrading.md calls mechanical. In files
  with edits it does what a person would do: it takes the template's file and makes the edit again.
- `suites` runs tests on a given database, with `given_database` as a plugin of pytest.

Guaranteed: the number of conflicts is bounded, and 0 in files that were not edited by hand. What the API shows of the
data is the same before and after the merge. The previous version's tests pass on the present schema.

Version 0.1.0 has no `make rename`, `make remove`, `make entity` or `make upgrade`. Its product is made with the
commands of the commit `TOOLS`, which are laid over it for that.

Not covered: changes that are not committed, packages that a product adds to the lock, a deploy under load
(tests/test_production.py).
"""
