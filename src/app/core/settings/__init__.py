"""How settings are read and checked; the settings themselves are the classes of `app.core.config`.

- `base`: the base class of them all
- `sources`: files that `NAME_FILE` variables name, the environment, `src/.env`, the servers of `make run`
- `unsafe`: secrets and passwords that `staging` and `production` refuse
- `values`: types of values, which refuse what can never work
- `redis`: the settings of the three Redis servers; `redis_url`: how their URLs are read

Every problem is reported at once, with the variable and the fix, never with a secret value.
"""
