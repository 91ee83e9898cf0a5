"""Generated requests against the running API: no response of 500, and every response as the OpenAPI document says.

    make fuzz CASES=100000

Schemathesis generates valid and invalid requests, and sequences in which a request uses what earlier responses returned
(stateful testing), as an anonymous caller, as a user and as the superuser. `hooks` are what it loads from this project:
they keep the role logged in, and let a part of the requests name rows that exist.
"""
