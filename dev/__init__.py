"""Tools for developers of this project. Nothing here is part of the image or imported by the application.

- `install.py` fills `.venv` from poetry.lock (`make install`).
- `services.py` starts PostgreSQL and Valkey from Python packages, for `make run` and for the tests.
- `run.py` with the package `local` runs the application on this machine (`make run`, `make debug`, `make servers`).
- `entity` writes the code of a new entity, and takes it back (`make entity`, `make entity-remove`).
- `chaos` and `fuzz.py` attack real processes with faults and generated requests (`make chaos`, `make fuzz`).
- `parts` removes parts of the template from a copy of it (`make remove`, `make drill`).
- `upgrade.py` merges another version of the template (`make upgrade`).
- `rehearsal` tries that with a product of the previous version (`make rehearsal`).
- `check_migrations.py` runs the migrations against an empty database (`make check`).
"""
