"""The base of every settings class: it reads the sources in their order and reports every problem at once."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, LiteralString, Self, TypeVar

from pydantic import BeforeValidator, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.core.settings.sources import (
    ENV_FILE,
    LOCAL_SERVERS,
    ConfigurationError,
    read_env_file,
    read_given,
    read_local_servers,
    read_secret_files,
)
from app.core.settings.unsafe import UNSAFE


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def _problem(kind: LiteralString, reason: str, location: tuple[int | str, ...]) -> InitErrorDetails:
    error = PydanticCustomError(kind, "{reason}", {"reason": reason})
    return InitErrorDetails(type=error, loc=location, input=None)


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
                _problem("setting", e["msg"], e["loc"])
                for e in error.errors(include_input=False, include_url=False)
                if e["type"] != "default_factory_not_called"  # a consequence of another one
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
        for name, (find_problem, fix) in UNSAFE.items():
            problem = find_problem(data.get(name)) if name in cls.model_fields else None
            if problem:
                reason = f"{problem}, which ENVIRONMENT={environment} refuses: {fix}"
                yield _problem("unsafe", reason, (name,))


S = TypeVar("S", bound=SettingsBase)


def describe(error: ValidationError) -> str:
    """One line per problem, without the value."""
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
