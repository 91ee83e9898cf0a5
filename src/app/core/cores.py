"""The share of the machine that this process may use. Standard library only: `gunicorn.conf.py` runs this file too."""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def _quota() -> float | None:
    """Cores by the control group's limit, version 2 or 1; None without a limit, and on other systems."""
    try:
        if (_CGROUP / "cpu.max").exists():
            quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (_CGROUP / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (_CGROUP / "cpu/cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # "max" means no limit
        return None


def available_cores() -> int:
    """Whole cores, at least 1: a container's limit counts, not the machine that it runs on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, math.ceil(_quota() or allowed)))
