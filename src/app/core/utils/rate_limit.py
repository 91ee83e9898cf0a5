"""The rate limiter's public names; `app.core.limits` describes how it works."""

from app.core.limits.limiter import Admission, Limit, RateLimiter, RateLimiterUnavailableError, open_rate_limiter

__all__ = ["Admission", "Limit", "RateLimiter", "RateLimiterUnavailableError", "open_rate_limiter"]
