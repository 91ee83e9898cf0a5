"""What every settings class shares: where values come from, and which values may not leave a developer's machine."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, LiteralString, Self, TypeVar

from dotenv.parser import parse_stream
from pydantic import BeforeValidator, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

ENV_FILE = Path(os.environ.get("ENV_FILE") or Path(__file__).resolve().parents[2] / ".env")
"""`src/.env`, or the file that the variable of this name leads to (`ENV_FILE=/dev/null`: no file)."""
LOCAL_SERVERS = Path(".local/servers.env")
"""Below the folder of `src`: how to reach the servers that `make run` has started for this checkout."""
MINIMUM_SECRET_BYTES = 32
MINIMUM_HASH_ROUNDS = 10
_ONLY_A_COMMENT = re.compile(r"[^=]*=[ \t]*#")

PUBLISHED_PASSWORDS = frozenset({"your_password", "change-this-password", "postgres", "1234", "Str1ng$t"})
PUBLISHED_SECRETS = frozenset({"# result of openssl rand -hex 32", "result of openssl rand -hex 32"})
"""Values that the example file, the README or the code contain: they are public."""


class ConfigurationError(SystemExit):
    """The configuration cannot be used; the text has one line per problem, each with a variable and its fix.

    The process ends with this text and status 1, not with a traceback.
    """


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def read_env_file(path: Path) -> dict[str, str]:
    """The file's variables that have a value.

    A comment behind an empty value (`NAME= # a hint`) is a comment, which python-dotenv takes for the value; and `${…}`
    in a password is a part of the password. Raises `ConfigurationError` if the file cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8") as file:
            bindings = list(parse_stream(file))
    except PermissionError:
        raise ConfigurationError(f"{path} cannot be read: a container needs `chmod a+r` for it") from None
    return {
        binding.key: binding.value
        for binding in bindings
        if binding.key
        and binding.value
        and binding.value.strip()
        and not _ONLY_A_COMMENT.match(binding.original.string)
    }


def read_secret_files(names: Iterable[str]) -> dict[str, str]:
    """The values of the settings NAME for which the variable `NAME_FILE` names a file, as Docker's secrets need it.

    Raises `ConfigurationError` if the file cannot be read.
    """
    found = {}
    for name in names:
        path = os.environ.get(f"{name}_FILE")
        if path:
            try:
                found[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{name}_FILE: {path} cannot be read: {error}") from None
    return {name: value for name, value in found.items() if value}


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
        return "is not set, so that the default, which anybody can read, would be used"
    return "is a published example" if value in PUBLISHED_PASSWORDS else None


def _rounds_problem(value: object) -> str | None:
    return (
        f"is below {MINIMUM_HASH_ROUNDS}" if str(value).isdecimal() and int(str(value)) < MINIMUM_HASH_ROUNDS else None
    )


_UNSAFE: Mapping[str, tuple[Callable[[object], str | None], str]] = {
    "SECRET_KEY": (_secret_key_problem, "set it to the output of `openssl rand -hex 32`"),
    "ADMIN_PASSWORD": (_password_problem, "choose one of your own"),
    "PASSWORD_HASH_ROUNDS": (_rounds_problem, "leave it out for 12"),
    "POSTGRES_PASSWORD": (_password_problem, "set the password of your database"),
}


def _problem(kind: LiteralString, reason: str, location: tuple[int | str, ...]) -> InitErrorDetails:
    error = PydanticCustomError(kind, "{reason}", {"reason": reason})
    return InitErrorDetails(type=error, loc=location, input=None)


def read_given(env_file: Path) -> dict[str, str]:
    """What the environment and the file say; an empty value counts as missing."""
    return read_env_file(env_file) | {name: value for name, value in os.environ.items() if value}


def read_local_servers(path: Path, given: Collection[str]) -> dict[str, str]:
    """How to reach the servers that `make run` has started, without those whose host or port is given elsewhere.

    A server is given as a whole: the password of one must not be used for another.
    """

    def is_given(server: str) -> bool:
        return any(f"{server}_{part}" in given for part in ("SERVER", "HOST", "PORT"))

    return {name: value for name, value in read_env_file(path).items() if not is_given(name.rpartition("_")[0])}


class SettingsBase(BaseSettings):
    """Reads the files that `NAME_FILE` variables name, then the environment, then `src/.env`.

    The variable `ENV_FILE` names another file to read in place of `src/.env`. An empty value counts as missing.
    Locally the servers that `make run` has started come last, before the defaults.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True, case_sensitive=True, extra="ignore", hide_input_in_errors=True, validate_default=True
    )
    env_file: ClassVar[Path] = ENV_FILE

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        secrets = read_secret_files(settings_cls.model_fields)
        given = read_given(cls.env_file) | secrets
        is_local = given.get("ENVIRONMENT", "local") == "local"
        servers = read_local_servers(cls.env_file.parent.parent / LOCAL_SERVERS, given) if is_local else {}

        def source(values: Mapping[str, str]) -> InitSettingsSource:
            known = {name: value for name, value in values.items() if name in settings_cls.model_fields}
            return InitSettingsSource(settings_cls, init_kwargs=known)

        return init_settings, source(secrets), env_settings, source(read_env_file(cls.env_file)), source(servers)

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything_at_once(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        unsafe = list(cls._unsafe_values(data))
        try:
            settings = handler(data)
        except ValidationError as error:
            faulty = [
                _problem("setting", e["msg"], e["loc"]) for e in error.errors(include_input=False, include_url=False)
            ]
            raise ValidationError.from_exception_data(cls.__name__, [*faulty, *unsafe], hide_input=True) from None
        if unsafe:
            raise ValidationError.from_exception_data(cls.__name__, unsafe, hide_input=True)
        return settings

    @classmethod
    def _unsafe_values(cls, data: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        environment = str(data.get("ENVIRONMENT") or "local")
        if environment == "local" or "ENVIRONMENT" not in cls.model_fields:
            return
        for name, (find_problem, fix) in _UNSAFE.items():
            problem = find_problem(data.get(name)) if name in cls.model_fields else None
            if problem:
                reason = f"{problem}, which ENVIRONMENT={environment} refuses: {fix}"
                yield _problem("unsafe", reason, (name,))


S = TypeVar("S", bound=SettingsBase)


def describe(error: ValidationError) -> str:
    """One line a problem, never with the value."""
    return "\n".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())


def load(settings_class: type[S]) -> S:
    """The settings from the environment and `src/.env`.

    Raises `ConfigurationError` with every problem at once.
    """
    try:
        return settings_class()
    except ValidationError as error:
        where = f"Set these in the environment or in {SettingsBase.env_file}:"
        raise ConfigurationError(f"The configuration cannot be used. {where}\n{describe(error)}") from None
