"""Values that may not leave a developer's machine: missing, weak or published secrets."""

from collections.abc import Callable, Mapping

from app.core.settings.redis_url import parse_redis_url

MINIMUM_SECRET_BYTES = 32
MINIMUM_HASH_ROUNDS = 10

PUBLISHED_PASSWORDS = frozenset({"your_password", "change-this-password", "postgres", "1234", "Str1ng$t"})
PUBLISHED_SECRETS = frozenset({"# result of openssl rand -hex 32", "result of openssl rand -hex 32"})
"""Values that the example file, the README or the code contain: they are public."""


def _secret_key_problem(value: object) -> str | None:
    if not value:
        return "is not set, so that every start would end all sessions"
    if value in PUBLISHED_SECRETS:
        return "is the published example"
    if len(str(value).encode()) < MINIMUM_SECRET_BYTES:
        return f"is shorter than {MINIMUM_SECRET_BYTES} bytes"
    return None


def _password_problem(value: object) -> str | None:
    if not value:
        return "is not set, so that the public default would be used"
    return "is a published example" if value in PUBLISHED_PASSWORDS else None


def _url_problem(value: object) -> str | None:
    try:
        password = parse_redis_url(str(value or "redis://localhost")).password
    except ValueError:
        return None  # reported as such
    return "has a published example as its password" if password in PUBLISHED_PASSWORDS else None


def _rounds_problem(value: object) -> str | None:
    return (
        f"is below {MINIMUM_HASH_ROUNDS}" if str(value).isdecimal() and int(str(value)) < MINIMUM_HASH_ROUNDS else None
    )


UNSAFE: Mapping[str, tuple[Callable[[object], str | None], str]] = {
    "SECRET_KEY": (_secret_key_problem, "set it to the output of `openssl rand -hex 32`"),
    "ADMIN_PASSWORD": (_password_problem, "choose one of your own"),
    "PASSWORD_HASH_ROUNDS": (_rounds_problem, "leave it out for 12"),
    "POSTGRES_PASSWORD": (_password_problem, "set the password of your database"),
    "REDIS_CACHE_URL": (_url_problem, "set the password of your Redis"),
    "REDIS_QUEUE_URL": (_url_problem, "set the password of your Redis"),
    "REDIS_RATE_LIMIT_URL": (_url_problem, "set the password of your Redis"),
}
"""For each setting a check, which returns what is wrong with a value or None, and the fix."""
