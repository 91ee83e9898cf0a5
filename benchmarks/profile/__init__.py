"""`make profile SCENARIO=S5`: where the CPU time of one scenario goes, as a flame graph.

`sampler` runs inside of the web server: a timer of the process's CPU time interrupts it and notes the functions that
are being called. This needs no tool and no privilege, and works on every system and Python. What it cannot show: time
in C (asyncpg, uvloop, the kernel) counts for the Python function that called it, or for the next that is called.
`server` is uvicorn with a sampler, `flame` draws.
"""
