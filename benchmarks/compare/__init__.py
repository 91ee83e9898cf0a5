"""`make bench`: the template against a comparison application written by hand, scenario by scenario.

`bare` is the comparison, `stage` starts everything, `scenarios` says what is sent and expected, `rounds` measures,
`load` sends (by `wrk.lua`, or by `clients` where wrk is not installed), `cores` pins, `report` and `plot` show.

Both applications run in one uvicorn worker each on the same PostgreSQL and Valkey, each in a database of its own with
the same rows. Ours has the HTTP protocol that it has in production, which coalesces writes. A second process of the
comparison has it, too: the table shows the ratio to either. In each round one is measured right after the other, the
order alternates, and the medians count. Every response is checked: a wrong status, or a miss where a hit belongs, ends
the run with status 1.
"""
