"""Settings: where values come from, what is refused, and that nothing secret is ever shown."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from redis.asyncio.connection import parse_url
from sqlalchemy.engine import make_url

from app.api import router
from app.core.config import AppSettings, ConfigurationError, CryptSettings, PostgresSettings, Settings
from app.core.db.engine import create_engine
from app.core.settings.base import load
from app.core.settings.redis_url import parse_redis_url
from app.core.settings.sources import read_env_file
from app.core.settings.unsafe import PUBLISHED_PASSWORDS, PUBLISHED_SECRETS
from app.core.setup import create_application
from tests.support.readme import README, ROOT, chapter

EXAMPLE = ROOT / "src" / ".env.example"
NAMES = set(Settings.model_fields)
SAFE = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "ADMIN_PASSWORD": "a password of our own",
    "POSTGRES_PASSWORD": "a password of its own",
}


@pytest.fixture
def settings_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Settings]:
    """The settings with an empty environment and a `.env` in a temporary folder."""
    for name in NAMES | {f"{name}_FILE" for name in NAMES}:
        monkeypatch.delenv(name, raising=False)

    (tmp_path / "src").mkdir()

    class Isolated(Settings):
        env_file = tmp_path / "src" / ".env"

    return Isolated


def write(settings_class: type[Settings], text: str) -> None:
    settings_class.env_file.write_text(text, encoding="utf-8")


class TestSources:
    def test_the_environment_comes_first_and_the_file_second(
        self, settings_class: type[Settings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(settings_class, 'POSTGRES_DB="file"\nPOSTGRES_USER="file"\n')
        monkeypatch.setenv("POSTGRES_DB", "environment")
        settings = load(settings_class)

        assert (settings.POSTGRES_DB, settings.POSTGRES_USER) == ("environment", "file")
        assert settings.POSTGRES_SERVER == "localhost"

    @pytest.mark.parametrize("value", ["", " ", '""', "# a hint", "   # a hint"])
    def test_an_empty_value_counts_as_missing(self, settings_class: type[Settings], value: str) -> None:
        write(settings_class, f"POSTGRES_PORT={value}\nALGORITHM={value}\n")
        settings = load(settings_class)

        assert (settings.POSTGRES_PORT, settings.ALGORITHM) == (5432, "HS256")

    def test_an_empty_variable_of_the_environment_does_not_hide_the_file(
        self, settings_class: type[Settings], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(settings_class, "POSTGRES_PORT=1234\n")
        monkeypatch.setenv("POSTGRES_PORT", "")

        assert load(settings_class).POSTGRES_PORT == 1234

    def test_the_servers_of_make_run_come_last(self, settings_class: type[Settings]) -> None:
        """A server whose host, port or URL is given elsewhere is not taken from there at all, its password included."""
        servers = settings_class.env_file.parent.parent / ".local" / "servers.env"
        servers.parent.mkdir(exist_ok=True)
        server = {"SERVER": "127.0.0.1", "HOST": "127.0.0.1", "PORT": "7000", "PASSWORD": "of make run"}
        parts = ("POSTGRES", "REDIS_RATE_LIMIT")
        servers.write_text("".join(f"{part}_{name}='{value}'\n" for part in parts for name, value in server.items()))
        write(settings_class, "POSTGRES_PASSWORD=mine\nREDIS_RATE_LIMIT_PORT=1234\n")
        settings = load(settings_class)

        assert (settings.POSTGRES_SERVER, settings.POSTGRES_PORT) == ("127.0.0.1", 7000)
        assert settings.POSTGRES_PASSWORD == "mine"
        assert (settings.REDIS_RATE_LIMIT_HOST, settings.REDIS_RATE_LIMIT_PORT) == ("localhost", 1234)
        assert settings.REDIS_RATE_LIMIT_PASSWORD == ""

        write(settings_class, "POSTGRES_PASSWORD=mine\n")
        settings = load(settings_class)
        assert (settings.REDIS_RATE_LIMIT_PORT, settings.REDIS_RATE_LIMIT_PASSWORD) == (7000, "of make run")

        write(settings_class, "REDIS_RATE_LIMIT_URL=redis://limits\n")
        settings = load(settings_class)
        assert (settings.REDIS_RATE_LIMIT_HOST, settings.REDIS_RATE_LIMIT_URL) == ("localhost", "redis://limits")

        write(
            settings_class, "".join(f"{name}={value}\n" for name, value in {"ENVIRONMENT": "staging", **SAFE}.items())
        )
        assert load(settings_class).POSTGRES_PORT == 5432, "servers of make run are for ENVIRONMENT=local only"

    def test_a_file_can_contain_any_password(self, settings_class: type[Settings]) -> None:
        write(settings_class, "ADMIN_PASSWORD=\"#a ${HOME} $b 'c' \"  # a hint\nTEST_PASSWORD=a#b\n")
        settings = load(settings_class)

        assert (settings.ADMIN_PASSWORD, settings.TEST_PASSWORD) == ("#a ${HOME} $b 'c' ", "a#b")

    def test_the_blocks_of_the_readme_are_a_valid_file(self, settings_class: type[Settings]) -> None:
        blocks = re.findall(r"^```\n(# -+ .*?)^```$", chapter("3.1"), re.MULTILINE | re.DOTALL)
        write(settings_class, "".join(blocks))
        settings = load(settings_class)

        assert (settings.POSTGRES_SERVER, settings.POSTGRES_PORT) == ("your_server", 5432)
        assert (settings.ALGORITHM, settings.ACCESS_TOKEN_EXPIRE_MINUTES) == ("HS256", 30)
        assert settings.ADMIN_EMAIL == "your_email"
        assert "SECRET_KEY" not in settings.model_fields_set
        assert settings.REDIS_RATE_LIMIT_HOST == "localhost"

    def test_a_value_may_come_from_its_own_file(
        self, settings_class: type[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "secret").write_text("from a file\n")
        monkeypatch.setenv("ADMIN_PASSWORD_FILE", str(tmp_path / "secret"))

        assert load(settings_class).ADMIN_PASSWORD == "from a file"

    def test_another_file_can_take_the_place_of_the_first(self, tmp_path: Path) -> None:
        (tmp_path / "my.env").write_text("POSTGRES_PORT=many\n")
        command = [sys.executable, "-m", "src.scripts.check_settings"]
        env = os.environ | {"ENV_FILE": str(tmp_path / "my.env")}
        result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

        assert result.returncode == 1
        assert f"Set these in the environment or in {tmp_path / 'my.env'}:\nPOSTGRES_PORT: " in result.stderr


class TestExample:
    def test_it_names_every_setting_and_has_the_defaults(self, settings_class: type[Settings]) -> None:
        named = set(re.findall(r"^([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))
        assert {name for name in named if not name.startswith("PGADMIN_")} == NAMES

        default = settings_class()
        write(settings_class, EXAMPLE.read_text())
        example = load(settings_class)
        ours = {"SECRET_KEY", "APP_DESCRIPTION", "LICENSE_NAME"}
        assert example.model_dump(exclude=ours) == default.model_dump(exclude=ours)

    def test_published_values_are_refused_outside_local(self) -> None:
        published = {value for name, value in read_env_file(EXAMPLE).items() if name.endswith("_PASSWORD")}
        block = chapter("3.1")
        published |= set(re.findall(r'^[A-Z_]+_PASSWORD="([^"]+)"', block, re.MULTILINE))
        published |= set(re.findall(r"POSTGRES_PASSWORD=(\w+)", README.read_text()))
        published |= {
            str(field.default) for name, field in Settings.model_fields.items() if name.endswith("_PASSWORD")
        } - {""}
        assert published <= PUBLISHED_PASSWORDS

    def test_the_table_of_the_readme_is_complete_and_right(self, settings_class: type[Settings]) -> None:
        default = settings_class()
        told: dict[str, str] = {}
        for names, value in re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \| ?([^|]*?) ?\|", chapter("3.1"), re.MULTILINE):
            told |= dict.fromkeys(re.findall(r"[A-Z_]+", names), value.strip().strip("`"))
        told.pop("ENVIRONMENT")
        assert set(told) == NAMES - {"ENVIRONMENT"}
        for name, value in told.items():
            actual: Any = getattr(default, name)
            text = ",".join(actual) if isinstance(actual, tuple) else str(actual if actual is not None else "")
            assert value == {"True": "true", "False": "false"}.get(text, text) or name == "SECRET_KEY", name


class TestUrls:
    @pytest.mark.parametrize("password", ["p@ss:/w?o#r%d", "ä€ 'x' \"y\"", "%20", "a+b&c=d", "\\$"])
    def test_any_character_of_a_password_survives(self, settings_class: type[Settings], password: str) -> None:
        settings = settings_class(
            POSTGRES_PASSWORD=password,
            REDIS_CACHE_PASSWORD=password,
            REDIS_QUEUE_PASSWORD=password,
            REDIS_RATE_LIMIT_PASSWORD=password,
        )
        url = make_url(settings.POSTGRES_URL)
        assert (url.password, url.host, url.port) == (password, "localhost", 5432)
        for redis_url in [settings.REDIS_CACHE_URL, settings.REDIS_QUEUE_URL, settings.REDIS_RATE_LIMIT_URL]:
            parsed: Any = parse_url(redis_url)
            assert unquote(parsed["password"]) == password or parsed["password"] == password
            assert (parsed["host"], parsed["db"]) == ("localhost", 0)

    @pytest.mark.parametrize(
        ("servers", "hosts"),
        [
            ("db1", [("db1", 6000)]),
            ("db1:5433", [("db1", 5433)]),
            ("db1,db2:5433", [("db1", 6000), ("db2", 5433)]),
            (" 10.0.0.1 , [::1]:5433,fe80::1, ", [("10.0.0.1", 6000), ("::1", 5433), ("fe80::1", 6000)]),
        ],
    )
    def test_the_database_may_be_several_servers(
        self, settings_class: type[Settings], servers: str, hosts: list[tuple[str, int]]
    ) -> None:
        settings = settings_class(POSTGRES_SERVER=servers, POSTGRES_PORT=6000)
        assert list(settings.POSTGRES_HOSTS) == hosts

        engine = create_engine(settings)
        _, options = engine.dialect.create_connect_args(make_url(settings.POSTGRES_URL))
        several = len(hosts) > 1
        assert options["host"] == ([host for host, _ in hosts] if several else hosts[0][0])
        assert options["port"] == ([port for _, port in hosts] if several else hosts[0][1])
        assert options.get("target_session_attrs") == ("read-write" if several else None)

    def test_several_poolers_are_refused(self, settings_class: type[Settings]) -> None:
        write(settings_class, "POSTGRES_SERVER=db1,db2\nDATABASE_PGBOUNCER=true\n")
        with pytest.raises(ConfigurationError, match="has to be one PgBouncer"):
            load(settings_class)

    def test_what_the_url_of_a_replica_leaves_out_is_as_for_the_primary(self, settings_class: type[Settings]) -> None:
        assert settings_class().replica is None
        url = "postgresql://reader:p%40ss%2Fword@replica:6432/copy"
        full = settings_class(POSTGRES_URL_READ=url, DATABASE_PGBOUNCER=True).replica
        short = settings_class(
            POSTGRES_URL_READ="postgresql://[::1]", POSTGRES_PORT=6000, POSTGRES_PASSWORD="p"
        ).replica
        assert full
        assert full.POSTGRES_URL == "postgresql+asyncpg://reader:p%40ss%2Fword@replica:6432/copy"
        assert not full.DATABASE_PGBOUNCER
        assert short
        assert short.POSTGRES_URL == "postgresql+asyncpg://postgres:p@[::1]:6000/postgres"

    @pytest.mark.parametrize(
        "url", ["replica", "mysql://hidden@replica", "postgresql:///copy", "postgresql://hidden@replica:port/copy"]
    )
    def test_another_url_of_a_replica_is_refused(self, settings_class: type[Settings], url: str) -> None:
        write(settings_class, f'POSTGRES_URL_READ="{url}"\n')
        with pytest.raises(ConfigurationError, match="postgresql://user:password@host") as caught:
            load(settings_class)
        assert "hidden" not in str(caught.value)

    @pytest.mark.parametrize("servers", ["db1:", "db1:0", "db1,db2:65536", "db1:x", "[db1]", "db1 db2", ","])
    def test_what_is_no_server_is_refused(self, settings_class: type[Settings], servers: str) -> None:
        write(settings_class, f'POSTGRES_SERVER="{servers}"\n')
        with pytest.raises(ConfigurationError, match="db1,db2:5433"):
            load(settings_class)

    def test_tls_has_its_own_scheme(self, settings_class: type[Settings]) -> None:
        assert settings_class(REDIS_RATE_LIMIT_SSL=True).REDIS_RATE_LIMIT_URL.startswith("rediss://")

    def test_a_redis_url_wins_over_its_parts(self, settings_class: type[Settings]) -> None:
        write(
            settings_class, "REDIS_CACHE_HOST=other\nREDIS_CACHE_DB=3\nREDIS_CACHE_URL=redis://app:s%40cret@cache:1/2\n"
        )
        settings = load(settings_class)
        address = parse_redis_url(settings.REDIS_CACHE_URL)

        assert (address.host, address.port, address.database) == ("cache", 1, 2)
        assert (address.user, address.password, str(address)) == ("app", "s@cret", "cache:1")
        assert "cret" not in repr(settings) + repr(address)

    def test_the_url_of_sentinels(self) -> None:
        address = parse_redis_url(
            "sentinel://app:p%2Fw@one,two:7,[::1]:8/the%20tasks/3?tls=true&sentinel_user=s&sentinel_password=a%26b"
        )
        assert address.sentinels == (("one", 26379), ("two", 7), ("::1", 8))
        assert (address.service, address.database, address.tls) == ("the tasks", 3, True)
        assert (address.user, address.password) == ("app", "p/w")
        assert (address.sentinel_user, address.sentinel_password) == ("s", "a&b")
        assert str(address) == "the tasks of one:26379,two:7,::1:8"

    def test_the_url_of_a_cluster(self) -> None:
        address = parse_redis_url("cluster://:p%2Fw@one,two:7?tls=true")
        assert (address.nodes, address.password, address.tls) == ((("one", 6379), ("two", 7)), "p/w", True)
        assert str(address) == "one:6379,two:7"

    def test_the_queue_cannot_be_a_cluster(self, settings_class: type[Settings]) -> None:
        write(settings_class, "REDIS_QUEUE_URL=cluster://:s3cret@one\nREDIS_RATE_LIMIT_URL=cluster://two\n")
        with pytest.raises(ConfigurationError, match="it cannot be a Cluster") as caught:
            load(settings_class)
        assert "s3cret" not in str(caught.value)
        assert [line.partition(":")[0] for line in str(caught.value).splitlines()[1:]] == ["REDIS_QUEUE_URL"]

    @pytest.mark.parametrize(
        "url",
        [
            "localhost:6379",
            "http://:s3cret@host",
            "redis://",
            "redis://:s3cret/9@host:6379/0",
            "redis://user:12/s3cret@host/0",
            "redis://:#s3cret@host",
            "redis://:s3cret@host:s3cret/0",
            "redis://:[s3cret@host",
            "redis://:s3cret@host:0",
            "redis://:s3cret@host/0?password=s3cret",
            "rediss://:s3cret@host/many",
            "unix://:s3cret@socket",
            "unix:///path?db=s3cret",
            "cluster://:s3cret@host1/0",
            "cluster://:s3cret@host1?tls=s3cret",
            "sentinel://:s3cret@host1,host2/",
            "sentinel://:s3cret@host1,,host2/service",
            "sentinel://:s3cret@host1:s3cret/service",
            "sentinel://:s3cret@host1/service/s3cret",
            "sentinel://:s3cret@host1/service?tls=s3cret",
        ],
    )
    def test_a_wrong_redis_url_is_one_line_without_the_password(self, settings_class: type[Settings], url: str) -> None:
        write(settings_class, f"REDIS_QUEUE_URL='{url}'\nREDIS_CACHE_PORT=many\n")
        with pytest.raises(ConfigurationError) as caught:
            load(settings_class)
        lines = str(caught.value).splitlines()[1:]

        named = {line.partition(":")[0]: line for line in lines}
        assert (len(lines), set(named)) == (2, {"REDIS_CACHE_PORT", "REDIS_QUEUE_URL"})
        assert "redis://user:password@host:6379/0" in named["REDIS_QUEUE_URL"]
        assert "s3cret" not in named["REDIS_QUEUE_URL"]

    def test_a_redis_url_with_a_published_password_is_refused_outside_local(
        self, settings_class: type[Settings]
    ) -> None:
        values = {"ENVIRONMENT": "production", "REDIS_QUEUE_URL": "redis://:your_password@host", **SAFE}
        write(settings_class, "".join(f"{name}={value}\n" for name, value in values.items()))
        with pytest.raises(ConfigurationError, match="REDIS_QUEUE_URL: has a published example as its password"):
            load(settings_class)


class TestRefusals:
    def test_every_problem_is_reported_at_once_with_its_fix(self, settings_class: type[Settings]) -> None:
        write(
            settings_class,
            "ENVIRONMENT=staging\nPOSTGRES_PORT=many\nSECRET_KEY=short-but-private\nTRUSTED_PROXIES=nonsense\n"
            "ACCESS_TOKEN_EXPIRE_MINUTES=0\nADMIN_PASSWORD=your_password\n",
        )
        with pytest.raises(ConfigurationError) as caught:
            load(settings_class)
        lines = str(caught.value).splitlines()
        named = {line.partition(":")[0] for line in lines[1:]}

        assert named == {
            "POSTGRES_PORT",
            "SECRET_KEY",
            "TRUSTED_PROXIES",
            "ACCESS_TOKEN_EXPIRE_MINUTES",
            "ADMIN_PASSWORD",
            "POSTGRES_PASSWORD",
        }
        assert "openssl rand -hex 32" in str(caught.value)
        for value in ("short-but-private", "your_password"):
            assert value not in str(caught.value)

    @pytest.mark.parametrize("part", ["DEFAULT", "LOGIN", "REGISTRATION"])
    def test_limits_and_periods_beyond_reason_are_refused(
        self, settings_class: type[Settings], monkeypatch: pytest.MonkeyPatch, part: str
    ) -> None:
        """Redis's scripts count in whole numbers below 2**53, a period in microseconds."""
        limit, period = f"{part}_RATE_LIMIT_LIMIT", f"{part}_RATE_LIMIT_PERIOD"
        monkeypatch.setenv(limit, str(2**31))
        monkeypatch.setenv(period, str(400 * 24 * 3600))
        with pytest.raises(ConfigurationError) as raised:
            load(settings_class)
        assert f"{limit}: Input should be less than or equal to {2**31 - 1}" in str(raised.value)
        assert f"{period}: Input should be less than or equal to {366 * 24 * 3600}" in str(raised.value)

    @pytest.mark.parametrize("environment", ["staging", "production"])
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("SECRET_KEY", None),
            ("SECRET_KEY", "x" * 31),
            *(("SECRET_KEY", value) for value in sorted(PUBLISHED_SECRETS)),
            ("ADMIN_PASSWORD", None),
            ("ADMIN_PASSWORD", "change-this-password"),
            ("ADMIN_PASSWORD", "your_password"),
            ("POSTGRES_PASSWORD", None),
            ("POSTGRES_PASSWORD", "postgres"),
            ("POSTGRES_PASSWORD", "your_password"),
            ("PASSWORD_HASH_ROUNDS", "4"),
        ],
    )
    def test_weak_values_are_refused_outside_local(
        self, settings_class: type[Settings], monkeypatch: pytest.MonkeyPatch, environment: str, name: str, value: str
    ) -> None:
        for variable, safe in (SAFE | {"ENVIRONMENT": environment}).items():
            monkeypatch.setenv(variable, safe)
        assert environment == load(settings_class).ENVIRONMENT
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)

        with pytest.raises(ConfigurationError, match=name):
            load(settings_class)

    def test_an_unknown_environment_is_refused(self, settings_class: type[Settings]) -> None:
        write(settings_class, "ENVIRONMENT=prod\n")
        with pytest.raises(ConfigurationError, match="ENVIRONMENT"):
            load(settings_class)

    def test_local_needs_nothing_and_warns_of_the_random_key(
        self, settings_class: type[Settings], caplog: pytest.LogCaptureFixture
    ) -> None:
        one, two = load(settings_class), load(settings_class)

        assert one.SECRET_KEY != two.SECRET_KEY
        assert len(one.SECRET_KEY) >= 32

    async def test_the_random_key_is_announced(self, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
        values = settings.model_dump(exclude_unset=True, exclude={"SECRET_KEY"})
        app = create_application(router=router, settings=Settings.model_validate(values))
        logging.getLogger("app").addHandler(caplog.handler)
        try:
            async with app.router.lifespan_context(app):
                pass
        finally:
            logging.getLogger("app").removeHandler(caplog.handler)
        assert "SECRET_KEY is not set" in caplog.text

    def test_the_command_reports_success_or_every_problem(self) -> None:
        def check(**environment: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "src.scripts.check_settings"]
            env = os.environ | environment
            return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

        good = check(ENVIRONMENT="production", **SAFE)
        bad = check(ENVIRONMENT="production", POSTGRES_PORT="x", **SAFE | {"SECRET_KEY": "too short"})
        assert (good.returncode, good.stdout) == (0, "the settings can be used (ENVIRONMENT=production)\n")
        assert bad.returncode == 1
        assert "POSTGRES_PORT: " in bad.stderr
        assert "SECRET_KEY: " in bad.stderr
        assert "Traceback" not in bad.stderr
        assert "too short" not in bad.stderr


IMPOSSIBLE = [
    ("CORS_ORIGINS", "https://app.example.com/", "'https://app.example.com'"),
    ("CORS_ORIGINS", "app.example.com", "'https://app.example.com'"),
    ("CORS_ORIGINS", "https://ok.example.com,HTTPS://App.Example.com:443", "'https://app.example.com'"),
    ("CORS_ORIGINS", "http://localhost:3000/path", "'http://localhost:3000'"),
    ("ALLOWED_HOSTS", "https://api.example.com", "'api.example.com'"),
    ("ALLOWED_HOSTS", "api.example.com:8000", "'api.example.com'"),
    ("ALLOWED_HOSTS", "*example.com", "is not the name of a host"),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", "99999999999999", "less than or equal"),
    ("REFRESH_TOKEN_EXPIRE_DAYS", "999999999", "less than or equal"),
    ("LOGIN_RATE_LIMIT_PERIOD", "99999999999", "less than or equal"),
    ("LOGIN_LOCKOUT_SECONDS", "99999999999", "less than or equal"),
    ("CLIENT_CACHE_MAX_AGE", "99999999999", "less than or equal"),
    ("TASK_RESULT_TTL_SECONDS", "99999999999", "less than or equal"),
    ("MAX_REQUEST_BODY_BYTES", "99999999999", "less than or equal"),
]


@pytest.mark.parametrize(("name", "value", "fix"), IMPOSSIBLE)
def test_values_that_can_never_work_are_refused_with_their_fix(
    settings_class: type[Settings], name: str, value: str, fix: str
) -> None:
    write(settings_class, f"{name}={value}\n")
    with pytest.raises(ConfigurationError) as error:
        load(settings_class)
    assert f"{name}: " in str(error.value)
    assert fix in str(error.value)


def test_origins_and_hosts_that_work_are_accepted(settings_class: type[Settings]) -> None:
    origins = ("https://app.example.com", "http://localhost:3000", "http://[::1]:8080", "https://xn--bcher-kva.example")
    hosts = ("api.example.com", "*.example.com", "localhost", "127.0.0.1", "[::1]", "web_1")
    write(settings_class, f"CORS_ORIGINS={','.join(origins)}\nALLOWED_HOSTS={','.join(hosts)}\n")
    settings = load(settings_class)
    assert (origins, hosts) == (settings.CORS_ORIGINS, settings.ALLOWED_HOSTS)
    assert settings_class.model_validate({"CORS_ORIGINS": "*"}).CORS_ORIGINS == ("*",)


class TestSecrets:
    def test_they_are_plain_strings_and_not_shown(self, settings_class: type[Settings]) -> None:
        secrets = {name: f"secret-{name}" for name in NAMES if name.endswith("_PASSWORD") or name == "SECRET_KEY"}
        settings = settings_class.model_validate(secrets)

        for name, secret in secrets.items():
            assert getattr(settings, name) == secret
            assert isinstance(getattr(settings, name), str)
            assert secret not in repr(settings)
            assert secret not in str(settings)

    def test_a_custom_composition_has_the_same_checks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Small(AppSettings, CryptSettings, PostgresSettings):
            pass

        monkeypatch.setenv("SECRET_KEY", "x")
        assert load(Small).SECRET_KEY == "x", "without EnvironmentSettings it is local"
