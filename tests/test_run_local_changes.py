"""What changes while `make run` runs: programs that end, new code and settings, Ctrl-C at any moment."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial

import httpx
import pytest

from dev.local.processes import descendants, send, wait_until
from dev.services import temporary_folder
from tests.support.local_run import PASSWORD, SECONDS, Checkout, Run, have_ended


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    with temporary_folder() as folder, closing(Checkout(folder / "a project")) as checkout:
        yield checkout


NEW_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "new"
down_revision = "{head}"


def upgrade() -> None:
    op.create_table("new", sa.Column("id", sa.Integer))
"""


def test_what_ends_is_restarted_and_a_second_ctrl_c_kills(checkout: Checkout) -> None:
    run = checkout.run()
    run.until("Ctrl-C")
    api, worker = checkout.leaders()
    servers = [pid for pid, process in run.processes().items() if process.parent == run.process.pid]
    send(signal.SIGKILL, {api, worker, *servers})
    for name in ("PostgreSQL", "Valkey", "the API", "the worker"):
        run.until(f"{name} has ended, next start in 0.5 s")
    # The API's second process may still respond after the first has ended.
    assert wait_until(lambda: len(checkout.leaders()) == 2 and checkout.works(), SECONDS)

    processes = run.processes()
    os.kill(checkout.leaders()[0], signal.SIGSTOP)  # does not end when it is asked to
    run.interrupt()
    time.sleep(0.7)
    assert run.process.poll() is None
    run.interrupt()
    assert run.process.wait(5) == 1
    assert wait_until(lambda: have_ended(processes), 5)


def test_changes_of_code_migrations_and_settings(checkout: Checkout) -> None:
    run = checkout.run()
    run.until("Ctrl-C")
    worker = checkout.leaders()[1]
    checkout.add_breakpoint()
    run.until("the code has changed, the worker starts again")
    assert wait_until(lambda: checkout.leaders()[1] != worker, SECONDS)

    def is_explained() -> bool:
        with suppress(httpx.TransportError):
            httpx.get(f"{checkout.url}/api/v1/health")
        return "breakpoint() at health.py:" in run.output

    assert wait_until(is_explained, SECONDS)

    head = checkout.python("alembic", "heads", folder="src").split()[0]
    versions = checkout.folder / "src" / "migrations" / "versions"
    (versions / "2999_new.py").write_text(NEW_MIGRATION.format(head=head))
    run.until("new, not applied: 2999_new.py. Apply with")
    assert wait_until(checkout.works, SECONDS)
    assert head in checkout.python("alembic", "current", folder="src"), "a reload applied a migration"

    original = checkout.env_file.read_text()
    checkout.env_file.write_text(f"{original}LOG_LEVEL=loud\n")
    run.until("LOG_LEVEL: ")
    run.until("src/.env has changed, but cannot be used; everything goes on with the old settings")
    checkout.env_file.write_text(original.replace(PASSWORD, "another password"))
    run.until("src/.env has changed, everything starts again")
    run.until("with the password that was set before: ADMIN_PASSWORD is another one")
    assert "its password is not ADMIN_PASSWORD" in run.output
    assert wait_until(checkout.works, SECONDS)
    assert "new (head)" in checkout.python("alembic", "current", folder="src")
    assert run.process.poll() is None
    run.interrupt()
    assert run.end() == 0


def test_a_breakpoint_has_the_terminal_with_debug(checkout: Checkout) -> None:
    checkout.add_breakpoint()
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "dev.run", "--port", str(checkout.port), "--debug", "api"]
    process = subprocess.Popen(
        command,
        cwd=checkout.folder,
        env=checkout.environment(TERM="dumb"),
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    output = ""

    def until(text: str) -> None:
        nonlocal output
        deadline = time.monotonic() + SECONDS
        while text not in output:
            assert time.monotonic() < deadline, output
            if select.select([terminal], [], [], 0.1)[0]:
                output += os.read(terminal, 65536).decode(errors="replace")

    try:
        # The run's own question whether the API responds is the first request.
        until("(Pdb) ")
        os.write(terminal, b"print('six times', 6 * 7)\n")
        until("six times 42")
        os.write(terminal, b"import sys; sys.breakpointhook = lambda: None\n")
        os.write(terminal, b"continue\n")
        until("Ctrl-C")
        assert checkout.log_in().is_success
        os.killpg(process.pid, signal.SIGINT)
        until("run: stopped")
        assert process.wait(SECONDS) == 0
        assert checkout.is_quiet()
    finally:
        if process.poll() is None:
            send(signal.SIGKILL, [*descendants(process.pid), process.pid])
        process.wait()
        os.close(terminal)


def test_the_next_run_ends_what_a_killed_run_has_left(checkout: Checkout) -> None:
    run = checkout.run()
    run.until("Ctrl-C")
    left_behind = run.processes()
    run.process.kill()
    run.process.wait()
    assert not have_ended(left_behind)
    env_text = checkout.env_file.read_text()
    checkout.env_file.write_text(env_text.replace('"first"', '"second"') + 'POSTGRES_USER="somebody else"\n')
    again = checkout.run("--no-reload")
    again.until("Ctrl-C")
    assert "ended what a killed run had left running" in again.output
    assert "superuser admin exists already" in again.output
    assert "is taken" not in again.output
    assert have_ended(left_behind)
    assert checkout.log_in().is_success
    again.interrupt()
    assert again.end() == 0
    assert checkout.is_quiet()


def test_ctrl_c_ends_a_run_at_every_moment_of_its_start(checkout: Checkout) -> None:
    cluster = checkout.local / "postgres" / "cluster"
    moments: list[Callable[[Run], bool]] = [
        lambda _: (checkout.local / "run.lock").exists(),
        # On a busy machine the first of the two may be seen too late.
        lambda _: cluster.with_suffix(".new").exists() or cluster.exists(),
        lambda run: "Started reloader" in run.output,
        lambda run: "superuser" in run.output,
    ]
    for number, has_come in enumerate(moments):
        if number == 1:
            shutil.rmtree(cluster, ignore_errors=True)
        run = checkout.run()
        assert wait_until(partial(has_come, run), SECONDS)
        processes = run.processes()
        run.interrupt()
        assert run.end() == 0
        assert run.output.endswith("run: stopped\n")
        assert have_ended(processes)
        assert checkout.is_quiet()
