"""The client cache as a separate middleware, for applications that are not made by `create_application`."""

from starlette.types import ASGIApp

from app.middleware.client_cache import ClientCache
from app.middleware.exchange import ExchangeMiddleware


class ClientCacheMiddleware(ExchangeMiddleware):
    """`app.add_middleware(ClientCacheMiddleware, max_age=60)`."""

    def __init__(self, app: ASGIApp, max_age: int) -> None:
        super().__init__(app, client_cache=ClientCache(max_age))
