"""The documentation of the API: the OpenAPI document and the pages that show it.

**The document** (`openapi.py`, `examples.py`, `tags.py`) is FastAPI's, completed from the code: an endpoint's
`summary=` and docstring, a field's description and example, the errors that a dependency declares
(`app.api.responses`). `/openapi.json` lists every status that an operation can return, each with an example: those of
requests and responses are put together from the examples of the schemas' fields, that of an invalid request comes from
the validation of real requests. `operationId` is the endpoint's name. `tests/test_openapi_texts.py` fails for a new
operation, parameter, field, response or tag without text or example; `tests/test_openapi_examples.py` sends every
example of a request and provokes every example of an error.

**The pages** (`pages.py`, `assets/`) are Swagger UI at `/docs` and ReDoc at `/redoc`; `/` redirects to the first of
them. They load everything from this server, and their Content-Security-Policy allows nothing else and no inline script.
A login in Swagger UI survives a reload: the browser stores the access token, not the password, until "Logout".

**Who may read them** (`access.py`) follows from `ENVIRONMENT`. `local`: everyone. `staging`: superusers, with an access
token or through the browser's own password prompt; the response to others explains the reason. `production`, or
settings without an environment: no access, every path is 404. Where the pages exist, their scripts and styles are
public; these files contain nothing of the API.

Not covered: an access token that Swagger UI has stored and that has expired since; it shows the user as logged in
until the first 401.
"""

from app.api.docs.openapi import Application
from app.api.docs.pages import install_docs

__all__ = ["Application", "install_docs"]
