"""What surrounds every request: one layer of six parts, and around or inside it what few applications switch on.

From the outside in: `TrustedProxiesMiddleware` finds the client's address, `ExchangeMiddleware` has the six parts
(request id, security headers, rate limit headers, client cache, body limit, unexpected errors), then allowed hosts and
allowed origins. `app.core.setup` has the list.
"""
