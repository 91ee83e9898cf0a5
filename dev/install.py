"""Installs Poetry into `.tools` and the packages of poetry.lock into `.venv`; does nothing if both are current.

python dev/install.py [.venv]    (Python 3.11 or newer, nothing else; pip's own configuration says where packages are)
python dev/install.py .tools/deploy --only deploy    only the packages of one group of pyproject.toml

Another folder keeps the packages for another Python: both Pythons share `.tools`.
"""

import fcntl
import hashlib
import platform
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TOOLS = PROJECT / ".tools"
PIP = "pip==26.3"
POETRY = ("poetry==2.5.1", "poetry-plugin-export==1.10.1")
"""In a separate environment: their dependencies are not the application's."""
_PROGRESS_SECONDS = 5.0


class InstallError(Exception):
    """Why the installation failed, with the last lines of the tool that failed."""


def say(text: str) -> None:
    print(f"install: {text}", flush=True)


def run(command: list[str], what: str) -> None:
    """Runs a tool with its output in the log, and reports its progress every few seconds."""
    reported, packages = time.monotonic(), 0
    recent: deque[str] = deque(maxlen=15)
    with (
        (TOOLS / "install.log").open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            recent.extend([line] if "WARNING" not in line else [])
            packages += line.startswith("Collecting ")
            if time.monotonic() > reported + _PROGRESS_SECONDS:
                reported = time.monotonic()
                say(f"  ... {packages} packages found")
    if process.returncode:
        raise InstallError(f"{what} failed, the end of {TOOLS / 'install.log'} is\n{''.join(recent)}".rstrip())


class Environment:
    """A virtual environment with a stamp file that says what was installed into it last."""

    def __init__(self, folder: Path, content: str) -> None:
        self.python = folder / "bin" / "python"
        self.requirements = folder / "requirements.txt"
        self._folder = folder
        self._stamp = folder / "installed"
        self._content = f"{content}\n"

    def is_current(self) -> bool:
        return self.python.exists() and self._stamp.exists() and self._stamp.read_text() == self._content

    def create(self) -> subprocess.Popen[bytes]:
        """Starts to create it, again from the beginning if it is for another Python."""
        configuration = self._folder / "pyvenv.cfg"
        self._stamp.unlink(missing_ok=True)
        if configuration.exists() and f"version = {platform.python_version()}\n" in configuration.read_text():
            command = ["-c", ""]
        else:
            command = ["-m", "venv", "--clear", str(self._folder)]
        return subprocess.Popen([sys.executable, *command], stdin=subprocess.DEVNULL)

    def finish(self) -> None:
        self._stamp.write_text(self._content)


def wait_for(creation: subprocess.Popen[bytes]) -> None:
    """Raises `InstallError` if the environment could not be created."""
    if creation.wait():
        raise InstallError("this Python cannot create virtual environments, its own message is above")


def install_tools(tools: Environment) -> list[str]:
    """Installs Poetry, and a pip that is twice as fast as the one of Python; returns the command line of that pip."""
    pip = [str(tools.python), "-m", "pip", "--no-input", "--disable-pip-version-check"]
    if not tools.is_current():
        say("Poetry, once for this checkout")
        wait_for(tools.create())
        run([*pip, "install", PIP], "installing pip")
        run([*pip, "install", "--no-compile", *POETRY], "installing Poetry")
        tools.finish()
    return pip


def listed(requirements: Path) -> set[str]:
    """The names of the packages in an exported list."""
    lines = requirements.read_text().splitlines() if requirements.exists() else []
    return {line.partition("==")[0] for line in lines if "==" in line}


def install_packages(environment: Environment, tools: Environment, pip: list[str], groups: Sequence[str]) -> None:
    """Installs the packages of the lock, each file checked against the lock's hash."""
    say("the packages of poetry.lock")
    requirements = environment.requirements
    former = listed(requirements)
    poetry = [str(tools.python), "-m", "poetry", "--no-interaction", "export"]
    run([*poetry, *groups, "--output", str(requirements)], "reading poetry.lock")
    pip = [*pip, "--python", str(environment.python)]
    install = ["install", "--no-deps", "--require-hashes", "--no-compile", "--requirement", str(requirements)]
    run([*pip, *install], "installing the packages of poetry.lock")
    if removed := sorted(former - listed(requirements)):
        run([*pip, "uninstall", "--yes", *removed], "uninstalling packages that poetry.lock no longer has")
    # On all cores, unlike pip; some packages contain templates that do not compile.
    compile_all = [str(environment.python), "-m", "compileall", "-q", "-j", "0", str(environment.python.parents[1])]
    subprocess.run(compile_all, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    environment.finish()


def install(folder: str = ".venv", *groups: str) -> None:
    """Installs what Poetry's options select, by default what developing needs; raises `InstallError`."""
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        raise InstallError("this Python lacks the module venv (Debian and Ubuntu: `apt install python3-venv`)")
    lock_digest = hashlib.sha256((PROJECT / "poetry.lock").read_bytes()).hexdigest()
    environment = Environment(PROJECT / folder, f"{lock_digest}, Python {platform.python_version()}")
    tools = Environment(TOOLS / "poetry", " ".join((PIP, *POETRY)))
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if environment.is_current() and tools.is_current():
            return
        begin = time.monotonic()
        (TOOLS / "install.log").unlink(missing_ok=True)
        creation = environment.create()  # while the tools are installed, which takes as long
        pip = install_tools(tools)
        wait_for(creation)
        install_packages(environment, tools, pip, groups or ("--with", "dev"))
        say(f"done in {time.monotonic() - begin:.0f} s")


def main() -> int:
    """Returns the exit status."""
    try:
        install(*sys.argv[1:])
    except (InstallError, OSError) as error:
        print(f"install: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("install: interrupted, the next `make install` continues", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
