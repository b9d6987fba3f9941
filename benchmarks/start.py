"""How long API and worker take from the start of the process until they are up, with a share of one core.

    .venv/bin/python benchmarks/start.py                                     # this environment for both
    .venv/bin/python benchmarks/start.py --cloud .venv-cloud/bin/python --edge .venv-edge/bin/python --quota 1 0.5 0.1

Each start is a new process over the engines of the tests (a real Valkey behind Upstash's protocol, a real PostgreSQL,
the stand-in for Qdrant). Up is, for the API, the first 200 of /health/live; for the worker, what it tells a
service manager once every store has answered (READY=1). The share is a quota of Linux's cgroups
(`cpu.cfs_quota_us` or `cpu.max`), on one core by affinity; without the right to set one only the affinity holds, which
is said. `cold` drops nothing: files are in the system's cache, except what the first start of all had to read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CGROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
LIMIT_S = 300.0


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        wall_s: Until it was up.
        cpu_s: Processor time of the process until then, its children's not.
        resident_mb: Resident set at that moment.
    """

    wall_s: float
    cpu_s: float
    resident_mb: float


@contextlib.contextmanager
def engines() -> Iterator[dict[str, str]]:
    """Run the engines of the tests as a process of their own; yield the variables that name them."""
    command = [sys.executable, str(ROOT / "benchmarks/stress.py"), "--engines"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        try:
            variables: dict[str, str] = json.loads(process.stdout.readline())
            yield variables
        finally:
            process.stdin.close()


@contextlib.contextmanager
def quota(share: float) -> Iterator[Path | None]:
    """Make a control group that may use `share` of a core; yield the file that takes its processes, or None."""
    version_1, version_2 = CGROUPS / "cpu", CGROUPS / "cgroup.controllers"
    parent = CGROUPS if version_2.exists() else version_1
    group = parent / f"alexandria-start-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        if version_2.exists():
            (group / "cpu.max").write_text(f"{round(share * PERIOD_US)} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(round(share * PERIOD_US)))
        yield group / "cgroup.procs"
    except OSError:
        yield None
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


@contextlib.contextmanager
def running(command: list[str], variables: dict[str, str], core: int, group: Path | None, log: Path) -> Iterator[int]:
    """Start a program in the group and on the core; yield its process id; tell it to stop at the end."""
    # The shell joins the group, then becomes the program: nothing of the program runs outside of it.
    join = f"echo $$ > {group} && " if group else ""
    shell = ["taskset", "--cpu-list", str(core), "sh", "-c", f'{join}exec "$0" "$@"', *command]
    with log.open("wb") as output:
        process = subprocess.Popen(shell, cwd=ROOT, env=variables, stdout=output, stderr=output)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def seen(pid: int, began: float) -> Start:
    """Look at a process that is up."""
    wall_s = time.monotonic() - began
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Start(wall_s, ticks / os.sysconf("SC_CLK_TCK"), resident / 1e6)


def start_api(python: str, variables: dict[str, str], core: int, group: Path | None, log: Path) -> Start:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "alexandria.entrypoints.start", "api", "--host", "127.0.0.1", "--port", str(port)]
    began = time.monotonic()
    with running(command, variables | {"MODE": "CLOUD"}, core, group, log) as pid:
        while time.monotonic() - began < LIMIT_S:
            with (
                contextlib.suppress(urllib.error.URLError, ConnectionError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=LIMIT_S),
            ):
                return seen(pid, began)
            time.sleep(0.01)
    raise SystemExit(f"the API was not up within {LIMIT_S:g} s:\n{log.read_text()[-2000:]}")


def start_worker(python: str, variables: dict[str, str], core: int, group: Path | None, log: Path) -> Start:
    way = log.with_suffix(".socket")
    way.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(way))
        manager.settimeout(LIMIT_S)
        began = time.monotonic()
        told = variables | {"MODE": "EDGE", "NOTIFY_SOCKET": str(way)}
        with running([python, "worker.py"], told, core, group, log) as pid:
            try:
                while b"READY=1" not in manager.recv(4096):
                    pass
            except TimeoutError:
                raise SystemExit(f"the worker was not up within {LIMIT_S:g} s:\n{log.read_text()[-2000:]}") from None
            return seen(pid, began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cloud", default=sys.executable, help="Python of the cloud's environment")
    parser.add_argument("--edge", default=sys.executable, help="Python of the edge's environment")
    parser.add_argument("--quota", type=float, nargs="+", default=[1.0, 0.5, 0.1], help="shares of one core")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    core = max(os.sched_getaffinity(0))
    with engines() as store, tempfile.TemporaryDirectory(prefix="alexandria-start-") as folder:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        variables = kept | store | {"TMPDIR": folder}
        migrate = [sys.executable, "-m", "alexandria.entrypoints.start", "migrate"]
        subprocess.run(migrate, env=variables | {"MODE": "CLOUD"}, check=True, stdout=subprocess.DEVNULL)
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.times} starts each, best first")
        print("half    core   wall s            CPU s   resident MB")
        log = Path(folder) / "log"
        for share in options.quota:
            with quota(share) as group:
                for half, start, python in (("api", start_api, options.cloud), ("worker", start_worker, options.edge)):
                    # Not `resolve`: the link in an environment is what makes it one.
                    program = str(Path(python).absolute())
                    starts = [start(program, variables, core, group, log) for _ in range(options.times)]
                    walls = " ".join(f"{one.wall_s:5.2f}" for one in sorted(starts, key=lambda one: one.wall_s))
                    best = min(starts, key=lambda one: one.wall_s)
                    shown = f"{share:4.2f}" if group else "1, no quota"
                    print(f"{half:<7} {shown}   {walls}   {best.cpu_s:5.2f}   {best.resident_mb:5.0f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
