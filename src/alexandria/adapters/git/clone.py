"""Repositories of hosts: fetched into a bare directory of their own, and never checked out."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from alexandria.adapters.git.address import Resolver, Target, host_targets, mirror_targets, redirected, resolve_name
from alexandria.adapters.git.command import Git, GitFailedError, make_git_dir, object_format_of, piped, stop_task
from alexandria.adapters.git.faults import MovedError, NoSuchPlaceError, OtherObjectFormatError, explained
from alexandria.adapters.git.limits import SourceLimits
from alexandria.adapters.git.listing import one_line
from alexandria.adapters.git.objects import ObjectTree, list_commit
from alexandria.adapters.git.progress import FetchProgress
from alexandria.adapters.git.scratch import directory_bytes, private_directory
from alexandria.domain.repo_url import RepoUrl, checked_ref
from alexandria.ports.repo_source import (
    RepoLimitError,
    RepoNotFoundError,
    RepoReaderMissingError,
    RepoSource,
    RepoSourceError,
    RepoUnavailableError,
    RepoUnsafeError,
    SourceTree,
)

_CHUNK = 1 << 16
_WATCH_S = 0.2
_MOST_REDIRECTS = 3
_SHA256 = re.compile("[0-9a-f]{64}")
_OLDEST_GIT = (2, 37)  # the first that can be told the address of a host
_LOCATION = re.compile(rb"<= Recv header: location: ([^\r\n]{1,2000})", re.IGNORECASE)


class GitSource(RepoSource[RepoUrl]):
    """Fetches one commit of a repository over https, shallow and without big blobs, and reads its objects."""

    def __init__(
        self,
        *,
        limits: SourceLimits | None = None,
        scratch: Path | None = None,
        mirror: str = "",
        proxy: str = "",
        ca_file: Path | None = None,
        resolve: Resolver = resolve_name,
    ) -> None:
        """Set up the source; nothing is asked of anybody yet.

        Args:
            limits: What a repository may take.
            scratch: Where temporary directories go; the system's place by default.
            mirror: Base URL (http, https) or folder that stands in for all hosts, by the operator's
                choice: its address is not checked. Empty for the hosts themselves. Anything else
                raises `ValueError`.
            proxy: URL of an HTTP proxy for the hosts. The environment is not asked for one.
            ca_file: Certificates to trust instead of the system's, as behind a proxy that opens TLS.
            resolve: Finds the addresses of a host.
        """
        if "://" in mirror and not mirror.startswith(("http://", "https://")):
            raise ValueError("the mirror must be an http or https URL, or a folder")
        self._limits = limits or SourceLimits()
        self._scratch = scratch or Path(tempfile.gettempdir())
        self._mirror = mirror
        self._proxy = proxy
        self._ca_file = ca_file
        self._resolve = resolve

    @asynccontextmanager
    async def open(
        self, origin: RepoUrl, *, ref: str = "", progress: Callable[[float], None] = lambda _: None
    ) -> AsyncIterator[SourceTree]:
        """Clone the repository; see the port."""
        checked_ref(ref)
        with private_directory(self._scratch) as scratch, await self._opened(origin, ref, scratch, progress) as tree:
            progress(1.0)
            yield tree

    async def _opened(self, repo: RepoUrl, ref: str, scratch: Path, progress: Callable[[float], None]) -> ObjectTree:
        try:
            async with asyncio.timeout(self._limits.clone_timeout_s):
                fetch = _Fetch(repo, ref, scratch, self._limits, FetchProgress(progress))
                git, commit = await fetch.from_any(await self._targets(repo, scratch))
                return await list_commit(git, commit, limits=self._limits, name=repo.key)
        except TimeoutError:
            raise RepoLimitError(
                f"{repo.key} could not be fetched in {self._limits.clone_timeout_s:g} s:"
                " raise the limit `clone_timeout_s`, or try again when the host is faster",
                limit="clone_timeout_s",
            ) from None
        except GitFailedError as error:
            raise explained(error, repo.key, ref, self._limits) from error
        except OSError as error:
            raise RepoSourceError(f"the temporary directory cannot be used: {error.strerror or error}") from error

    async def _targets(self, repo: RepoUrl, scratch: Path) -> list[Target]:
        config = {"http.sslCAInfo": str(self._ca_file)} if self._ca_file is not None else {}
        await _check_version(Git(make_git_dir(scratch / "version.git"), scratch, self._limits.memory_bytes))
        if self._mirror:
            return mirror_targets(self._mirror, repo, config)
        return await host_targets(repo, config, proxy=self._proxy, resolve=self._resolve)


class _Fetch:
    """One clone, from the first address that has it."""

    def __init__(self, repo: RepoUrl, ref: str, scratch: Path, limits: SourceLimits, progress: FetchProgress) -> None:
        self._repo = repo
        self._ref = ref
        self._scratch = scratch
        self._limits = limits
        self._progress = progress
        self._attempts = 0

    async def from_any(self, targets: list[Target]) -> tuple[Git, str]:
        """Fetch from the first of `targets` that has the repository; return what reads it, and the commit."""
        *others, last = targets
        for target in others:
            try:
                return await self._from(target)
            except NoSuchPlaceError:
                continue
        return await self._from(last)

    async def _from(self, target: Target) -> tuple[Git, str]:
        object_format = "sha256" if _SHA256.fullmatch(self._ref) else "sha1"
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                return await self._attempt(target, object_format)
            except MovedError:
                # Git either follows a redirect anywhere or not at all, so the step is taken here.
                target = redirected(target, self._location())
            except OtherObjectFormatError:
                object_format = "sha1" if object_format == "sha256" else "sha256"
        raise RepoUnsafeError(f"{self._repo.key} is redirected again and again")

    async def _attempt(self, target: Target, object_format: str) -> tuple[Git, str]:
        self._attempts += 1
        git_dir = make_git_dir(
            self._scratch / f"{self._attempts}.git",
            extensions={"objectFormat": object_format} if object_format != "sha1" else {},
        )
        git = self._fetching_git(git_dir, target)
        self._progress.start()
        try:
            await self._fetch(git)
            commit = await git.output("rev-parse", "--quiet", "--verify", "--end-of-options", "FETCH_HEAD^{commit}")
        except GitFailedError as error:
            if error.returncode == 1:
                raise RepoNotFoundError(f"{self._ref} of {self._repo.key} is not a commit") from error
            raise explained(error, self._repo.key, self._ref, self._limits) from error
        reading = make_git_dir(self._scratch / "read.git", extensions=object_format_of(commit))
        # Another git directory, which knows no remote: what the host left out is never asked for.
        objects = {"GIT_OBJECT_DIRECTORY": str(git_dir / "objects")}
        return Git(reading, self._scratch, self._limits.memory_bytes, environment=objects), commit

    def _fetching_git(self, git_dir: Path, target: Target) -> Git:
        environment: dict[str, str] = {}
        if target.folder is not None:
            environment["GIT_CONFIG_GLOBAL"] = str(_config_for_folder(self._scratch / "folder.config", target.folder))
        else:
            environment |= {"GIT_TRACE_CURL": str(self._trace), "GIT_TRACE_CURL_NO_DATA": "1"}
        return Git(
            git_dir,
            self._scratch,
            self._limits.memory_bytes,
            protocols=target.protocols,
            config={
                "remote.origin.url": target.url,
                "http.followRedirects": "false",
                "http.lowSpeedLimit": "1",
                "http.lowSpeedTime": f"{self._limits.stall_timeout_s:.0f}",
                "fetch.unpackLimit": "1",  # always one pack, so a clone is a few files
                "fetch.writeCommitGraph": "false",
                "fetch.recurseSubmodules": "false",
                **target.config,
            },
            environment=environment,
        )

    async def _fetch(self, git: Git) -> None:
        arguments = ["--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance", "--progress"]
        # `limit` is the size from which a blob is left out; a host that cannot filter sends all of them.
        arguments += [f"--filter=blob:limit={self._limits.file_bytes + 1}", "origin", self._ref or "HEAD"]
        async with git.started("fetch", *arguments) as process:
            following = asyncio.ensure_future(self._follow(piped(process.stderr)))
            try:
                await self._watch(following)
            finally:
                await stop_task(following)
            returncode = await process.wait()
        self._check_size()
        if returncode != 0:
            raise GitFailedError(returncode, self._progress.words)

    async def _follow(self, stderr: asyncio.StreamReader) -> None:
        while chunk := await stderr.read(_CHUNK):
            self._progress.feed(chunk)
            self._alive_at = asyncio.get_running_loop().time()

    async def _watch(self, following: asyncio.Future[None]) -> None:
        """Wait until git has said its last word; end it when it takes too much, or does nothing for too long."""
        clock = asyncio.get_running_loop().time
        self._alive_at = clock()
        size = 0
        while not following.done():
            await asyncio.wait([following], timeout=_WATCH_S)
            previous, size = size, self._check_size()
            if size != previous:
                self._alive_at = clock()
            if clock() - self._alive_at > self._limits.stall_timeout_s:
                raise RepoUnavailableError(
                    f"the host of {self._repo.key} sent nothing for {self._limits.stall_timeout_s:g} s: try again later"
                )
        following.result()

    def _check_size(self) -> int:
        size = directory_bytes(self._scratch)
        if size > self._limits.clone_bytes:
            raise RepoLimitError(
                f"{self._repo.key} takes more than {self._limits.clone_bytes:,} bytes:"
                " raise the limit `clone_bytes`, or clone it yourself and index the directory",
                limit="clone_bytes",
            )
        return size

    @property
    def _trace(self) -> Path:
        return self._scratch / f"{self._attempts}.trace"

    def _location(self) -> str:
        found: list[bytes] = _LOCATION.findall(self._trace.read_bytes())
        if not found:
            raise RepoUnavailableError(f"the host of {self._repo.key} redirects without saying where to")
        return found[-1].decode("latin-1").strip()


async def _check_version(git: Git) -> None:
    text = await git.output("version")
    match = re.search(r"(\d+)\.(\d+)", text)
    if match is None or (int(match[1]), int(match[2])) < _OLDEST_GIT:
        raise RepoReaderMissingError(
            f"cloning needs git 2.37 or newer, and this machine has {one_line(text)}: an older one cannot be held"
            " to the address that was checked"
        )


def _config_for_folder(path: Path, mirrored: Path) -> Path:
    """Write what the other side of a fetch from a folder reads: its user may be another, and it may filter."""
    folder = str(mirrored).replace("\\", "\\\\").replace('"', '\\"')
    lines = ["[safe]", *(f'\tdirectory = "{place}"' for place in (folder, f"{folder}/.git"))]
    path.write_text("\n".join([*lines, "[uploadpack]", "\tallowFilter = true"]) + "\n")
    return path
