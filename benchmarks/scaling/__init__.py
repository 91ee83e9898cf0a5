"""What 1, 10 and 100 web processes ask of PostgreSQL and Redis, and which part is full first.

`measure` takes the costs of one process on this machine, in CPU time of each of the three programs, because CPU time
depends least on what else the machine does. `model` multiplies them. `report` writes the tables.
"""
