"""Where values come from: files that variables name, the environment, `src/.env`, and the servers of `make run`."""

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from dotenv.parser import parse_stream

ENV_FILE = Path(os.environ.get("ENV_FILE") or Path(__file__).resolve().parents[3] / ".env")
"""The variable that names a file to read in place of `src/.env` (`ENV_FILE=/dev/null`: no file)."""
LOCAL_SERVERS = Path(".local/servers.env")
"""Below the folder of `src`: how to reach the servers that `make run` has started for this checkout."""
_ONLY_A_COMMENT = re.compile(r"[^=]*=[ \t]*#")


class ConfigurationError(SystemExit):
    """The configuration cannot be used; the text has one line per problem, each with a variable and its fix.

    The process ends with this text and status 1, not with a traceback.
    """


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


def read_given(env_file: Path) -> dict[str, str]:
    """The values of the environment and the file; an empty value counts as missing."""
    return read_env_file(env_file) | {name: value for name, value in os.environ.items() if value}


def read_local_servers(path: Path, given: Collection[str]) -> dict[str, str]:
    """How to reach the servers that `make run` has started, without those whose host, port or URL is given elsewhere.

    A server is given as a whole: the password of one must not be used for another.
    """

    def is_given(server: str) -> bool:
        return any(f"{server}_{part}" in given for part in ("SERVER", "HOST", "PORT", "URL"))

    return {name: value for name, value in read_env_file(path).items() if not is_given(name.rpartition("_")[0])}
