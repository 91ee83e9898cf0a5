"""How long a web process takes to start and how large it is: `python -m benchmarks.start [TIMES]`.

The CPU seconds of `import app.main` in a new Python (median), and the memory of a fresh worker after its first
response: RSS counts what it shares with others in full, PSS in part.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median

import httpx

from benchmarks.compare.cores import split_cores
from benchmarks.compare.stage import ROOT, open_servers, run_ours

TIMES = 9
_IMPORT = "import time; start = time.process_time(); import app.main; print(time.process_time() - start)"
_FIELDS = {"Rss": "RSS", "Pss": "PSS"}


def import_seconds(times: int) -> list[float]:
    """The first one also writes the bytecode."""
    command = [sys.executable, "-c", _IMPORT]
    outputs = [subprocess.check_output(command, cwd=ROOT / "src", stderr=subprocess.DEVNULL) for _ in range(times + 1)]
    return [float(output) for output in outputs[1:]]


def memory(pid: int) -> dict[str, float]:
    """Megabytes; empty where there is no /proc."""
    file = Path(f"/proc/{pid}/smaps_rollup")
    if not file.exists():
        return {}
    lines = (line.split() for line in file.read_text().splitlines())
    return {_FIELDS[words[0][:-1]]: int(words[1]) / 1024 for words in lines if words[0][:-1] in _FIELDS}


def main(times: int) -> None:
    seconds = import_seconds(times)
    print(f"import app.main: {median(seconds):.2f} s of CPU (from {min(seconds):.2f} to {max(seconds):.2f})")
    with open_servers(split_cores()) as servers, run_ours(servers) as ours:
        httpx.get(f"http://127.0.0.1:{ours.port}/api/v1/ready").raise_for_status()
        sizes = ", ".join(f"{name} {megabytes:.0f} MB" for name, megabytes in memory(ours.pid).items())
    print(f"a fresh worker: {sizes or 'unknown on this system'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TIMES)
