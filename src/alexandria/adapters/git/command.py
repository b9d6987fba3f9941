"""Starting git so that nobody but us says what it does, and ending it with all that it started."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from alexandria.adapters.git.listing import one_line
from alexandria.ports.repo_source import RepoLimitError, RepoReaderMissingError, RepoUnavailableError

T = TypeVar("T")

_CHUNK = 1 << 16
_STDERR_KEPT = 1 << 16
_LONGEST_RECORD = 1 << 20
_EXIT_TIMEOUT_S = 10.0

# Read from the environment of the process that we start, and from nowhere else.
_PASSED_ON = ("PATH", "SYSTEMROOT")

_CONFIG = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.untrackedCache": "false",
    "core.packedGitWindowSize": "64m",  # windows count as address space, which is bounded
    "core.packedGitLimit": "256m",
    "core.bigFileThreshold": "16m",  # larger blobs are streamed, not held
    "pack.threads": "1",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "credential.helper": "",
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
}


class GitFailedError(Exception):
    """Git ended with an error. Internal to this package: each caller says what it means.

    Attributes:
        returncode: Exit status; negative for a signal.
        stderr: Its last words, text of the host among them.
    """

    def __init__(self, returncode: int, stderr: str) -> None:
        super().__init__(f"git ended with {returncode}")
        self.returncode = returncode
        self.stderr = stderr

    @property
    def own_words(self) -> str:
        """The lines that git itself wrote about the fault, without those that the host sent."""
        lines = self.stderr.replace("\r", "\n").splitlines()
        return "\n".join(line for line in lines if line.startswith(("fatal:", "error:")))

    @property
    def last_words(self) -> str:
        """The line that names the fault, safe to be shown."""
        lines = self.own_words.splitlines()
        return one_line(lines[-1] if lines else f"nothing, it ended with status {self.returncode}")


def git_program() -> str:
    """Return the path of git.

    Raises:
        RepoReaderMissingError: There is none on PATH.
    """
    program = shutil.which("git")
    if program is None:
        raise RepoReaderMissingError("git is not installed, or not on PATH: install git 2.37 or newer")
    return program


@dataclass(frozen=True, slots=True)
class Git:
    """Git with one git directory of our making, in its own session, with nothing inherited.

    Attributes:
        git_dir: A directory made by `make_git_dir`.
        cwd: Where it runs.
        memory_bytes: Address space of each process.
        protocols: Transports it may use, colon-separated.
        config: More configuration; never written on a command line, where others could read it.
        environment: More variables.
    """

    git_dir: Path
    cwd: Path
    memory_bytes: int
    protocols: str = "none"
    config: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def started(
        self, *arguments: str, stdout: int = subprocess.PIPE
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start git; leaving kills its whole process group and waits until it is gone."""
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self._command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.cwd,
                env=self._environment(),
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await _end(await starting)
            raise
        try:
            yield process
        finally:
            await _end(process)

    def started_plain(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start git with pipes for a thread; end it with `kill_group` and `wait`."""
        return subprocess.Popen(
            self._command(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.cwd,
            env=self._environment(),
            start_new_session=True,
        )

    async def output(self, *arguments: str) -> str:
        """Return what git prints, up to 64 KiB, without the last newline.

        Raises:
            GitFailedError: It ended with an error.
        """
        kept = bytearray()
        await self.read(*arguments, take=lambda chunk: kept.extend(chunk[: _CHUNK - len(kept)]))
        return kept.decode("utf-8", "replace").rstrip("\n")

    async def records(self, *arguments: str, take: Callable[[bytes], None]) -> None:
        """Call `take` with each NUL-terminated record that git prints, as they come.

        Raises:
            GitFailedError: It ended with an error.
            RepoLimitError: A record has no end.
        """
        rest = b""

        def split(chunk: bytes) -> None:
            nonlocal rest
            *whole, rest = (rest + chunk).split(b"\0")
            for record in whole:
                take(record)
            if len(rest) > _LONGEST_RECORD:
                raise RepoLimitError("the repository has a path without end", limit="path_length")

        await self.read(*arguments, take=split)

    async def read(self, *arguments: str, take: Callable[[bytes], None]) -> None:
        """Call `take` with what git prints, in pieces.

        Raises:
            GitFailedError: It ended with an error.
        """
        async with self.started(*arguments) as process:
            output = piped(process.stdout)
            errors = asyncio.ensure_future(last_bytes(piped(process.stderr)))
            try:
                while chunk := await output.read(_CHUNK):
                    take(chunk)
                stderr = await errors
                returncode = await process.wait()
            finally:
                await stop_task(errors)
        if returncode != 0:
            raise GitFailedError(returncode, stderr.decode("utf-8", "replace"))

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        command = [git_program(), *arguments]
        if sys.platform != "win32":
            # Python's own way of setting limits (preexec_fn) can deadlock in a program with threads.
            script = f'ulimit -v {self.memory_bytes // 1024} 2>/dev/null; exec "$@"'
            command = ["/bin/sh", "-c", script, "sh", *command]
        return command

    def _environment(self) -> dict[str, str]:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {
            "LC_ALL": "C",
            "HOME": str(self.git_dir),
            "GIT_DIR": str(self.git_dir),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            # Stronger than any `protocol.<name>.allow`, wherever that may be written.
            "GIT_ALLOW_PROTOCOL": self.protocols,
        }
        config = {**_CONFIG, **self.config}
        environment["GIT_CONFIG_COUNT"] = str(len(config))
        for number, (key, value) in enumerate(config.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return {**environment, **self.environment}


def make_git_dir(
    path: Path,
    *,
    head: str = "ref: refs/heads/none",
    extensions: Mapping[str, str] | None = None,
    bare: bool = True,
) -> Path:
    """Make an empty git directory without running git: no template, no configuration but ours.

    Args:
        path: Does not exist yet.
        head: Content of HEAD.
        extensions: Values of `extensions.*`; git reads them from this file only.
        bare: It has no work tree.
    """
    (path / "objects").mkdir(parents=True)
    (path / "refs").mkdir()
    (path / "HEAD").write_text(head + "\n", "utf-8")
    lines = ["[core]", "\trepositoryformatversion = 1", f"\tbare = {str(bare).lower()}", "[extensions]"]
    lines += [f"\t{name} = {value}" for name, value in (extensions or {}).items()]
    (path / "config").write_text("\n".join(lines) + "\n", "utf-8")
    return path


def object_format_of(commit: str) -> dict[str, str]:
    """Return the extensions that a git directory for the objects of `commit` needs."""
    return {"objectFormat": "sha256"} if len(commit) == 64 else {}


def kill_group(pid: int) -> None:
    """Kill the process group that `pid` leads; nothing happens if it is gone.

    At once and not politely: the directory it writes to is removed whole, so there is nothing that
    it could put in order, and a group that is asked first can go on for as long as it likes.
    """
    try:
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)
        else:
            os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def piped(pipe: T | None) -> T:
    """Return the end of a pipe that was asked for when the process was started."""
    if pipe is None:
        raise TypeError("the process was started without this pipe")
    return pipe


async def stop_task(task: asyncio.Future[T]) -> None:
    """Cancel `task` and wait until it is over, whatever came of it: a pipe has one reader at a time."""
    task.cancel()
    await asyncio.wait([task])


async def last_bytes(stream: asyncio.StreamReader) -> bytes:
    """Read `stream` to its end and return the last 64 KiB."""
    kept = b""
    while chunk := await stream.read(_CHUNK):
        kept = (kept + chunk)[-_STDERR_KEPT:]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    kill_group(process.pid)
    try:
        # Every process of the group holds the pipes, so their end is the end of the group.
        await asyncio.wait_for(process.communicate(), _EXIT_TIMEOUT_S)
    except TimeoutError:
        raise RepoUnavailableError("git could not be ended: it hangs in the kernel, look at the disk") from None
