"""Errors in the use of the `cache` decorator, raised where it is applied."""


class CacheIdentificationInferenceError(Exception):
    """The resource id cannot be inferred from the endpoint's parameters."""


class InvalidRequestError(Exception):
    """The decorator was given options that its endpoint's HTTP method cannot use."""
