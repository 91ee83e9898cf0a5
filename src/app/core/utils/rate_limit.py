"""The rate limiter's public names; how it works is told in `app.core.limits`."""

from app.core.limits.limiter import Admission, Limit, RateLimiter, RateLimiterUnavailableError, open_rate_limiter

__all__ = ["Admission", "Limit", "RateLimiter", "RateLimiterUnavailableError", "open_rate_limiter"]
