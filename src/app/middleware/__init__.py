"""The middleware: one layer of seven parts, and optional layers around and inside it.

From the outside in: `TrustedProxiesMiddleware` finds the client's address, `ExchangeMiddleware` has the seven parts
(request id, request log, security headers, rate limit headers, client cache, body limit, unexpected errors), then
allowed hosts and allowed origins. `app.core.setup` has the list.
"""
