"""Removes parts of the template: the cache, posts, chaos runs. The folder can be deleted as a whole.

`make remove PART=posts` runs `__main__`; `make drill` runs `drill`, which removes parts in copies and checks the rest.

- `manifest/<part>.toml` says what belongs to a part: its files, the edits of shared files, the words that only it has.
  `manifest/<part>_migration.py.txt` is the migration that drops its tables.
- `removal` carries a removal out in a copy: it deletes the files, makes the edits, deletes the tests that use the
  part and the definitions that nothing uses any more, and lets ruff format the result.
- `verify` looks for what is left behind: imports of what is gone, links without a target, the part's words.
- `lock` takes packages that nothing needs any more out of poetry.lock.
- `edits`, `definitions` and `sweep` are the tools of `removal`; `staging` is the copy.

Guaranteed: either the whole removal is made or nothing is changed. It makes no commit, so that `git diff` shows what it
has changed. A removal can run again after a merge of the template's next
version: it removes what the merge has brought back.

Not covered: your own code that uses the part; the command refuses to leave a broken import behind and says where it is.
"""
