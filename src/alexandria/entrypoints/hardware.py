"""What this machine has to work with, for the log and for people."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

NO_GPU = "none: training runs on the CPU"


def describe_machine() -> dict[str, object]:
    """Return CPU, memory and the versions of the programs that the work takes; quick."""
    return {
        "cpu": _cpu_model(),
        "cpu_cores": usable_cores(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "alexandria": version("alexandria"),
        "git": _git_version(),
    }


def usable_cores() -> int:
    """Return how many cores this process may use, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_training() -> dict[str, object]:
    """Return what trains: PyTorch and the GPU, or the plain word that there is none.

    Imports PyTorch and what trains with it, which takes seconds: meant for a thread, and for a
    process that will train anyway.
    """
    torch: Any = import_module("torch")
    import_module("alexandria.adapters.pyg.embedder")
    found: dict[str, object] = {
        "torch": str(torch.__version__),
        "torch_geometric": version("torch-geometric"),
        "gpu": NO_GPU,
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": str(torch.cuda.get_device_name(0)),
            "gpus": torch.cuda.device_count(),
            "gpu_memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": str(torch.version.cuda),
        }
    return found


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in {"model name", "Model"}:
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | str:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, and some systems not these names
        return "unknown"


def _git_version() -> str:
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "none on PATH: no repository can be cloned"
    return done.stdout.strip().removeprefix("git version ") or "unknown"
