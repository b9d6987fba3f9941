"""Where a local repository keeps what, found without asking git."""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from alexandria.adapters.git.command import Git, make_git_dir
from alexandria.adapters.git.limits import SourceLimits
from alexandria.ports.repo_source import RepoSourceError

_LONGEST_POINTER = 1 << 14
_LONGEST_EXCLUDE = 1 << 20
_VALUE = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)

# How files are compared with the index; none of them names a program or a path.
_COPIED = frozenset(
    {"core.autocrlf", "core.eol", "core.filemode", "core.ignorecase", "core.symlinks"}
    | {"core.precomposeunicode", "core.trustctime", "core.checkstat"}
)
_EXTENSIONS = {"extensions.objectformat": "objectFormat", "extensions.refstorage": "refStorage"}


@dataclass(frozen=True, slots=True)
class GitLayout:
    """The places of one repository.

    Attributes:
        git_dir: Holds HEAD and the index; of its own for each linked work tree.
        common_dir: Holds objects, references and the configuration.
        work_tree: Top of the files; None for a bare repository.
    """

    git_dir: Path
    common_dir: Path
    work_tree: Path | None


@dataclass(frozen=True, slots=True)
class _Settings:
    config: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, str] = field(default_factory=dict)


def find_layout(root: Path) -> GitLayout | None:
    """Return the repository that `root` is or lies in; None if there is none."""
    own = _layout_at(root)
    if own is not None:
        return own
    if _is_git_dir(root, root):
        return GitLayout(root, root, None)
    return next((layout for parent in root.parents if (layout := _layout_at(parent)) is not None), None)


def is_repository(folder: Path) -> bool:
    """Whether a repository of its own begins at `folder`."""
    return _layout_at(folder) is not None


async def mirror_layout(layout: GitLayout, scratch: Path, *, cwd: Path, limits: SourceLimits) -> Git:
    """Return a git that reads the repository through a git directory of ours.

    The repository's objects, references and index are used where they lie, and its configuration is
    not: it may name programs (fsmonitor, filters, hooks, transports, and what the next release
    brings), so git never sees it. Some values that change how files compare are copied.

    Raises:
        RepoSourceError: The repository is broken.
        GitFailedError: Its configuration cannot be parsed.
    """
    settings = await _read_settings(layout, scratch, limits)
    head = _small_text(layout.git_dir / "HEAD")
    if head is None or not head.strip().isprintable():
        raise RepoSourceError(f"the git directory {layout.git_dir} is broken: it has no readable HEAD")
    bare = layout.work_tree is None
    shadow = make_git_dir(scratch / "shadow.git", head=head.strip(), extensions=settings.extensions, bare=bare)
    for name in ("refs", "packed-refs", "reftable"):
        _link(layout.common_dir / name, shadow / name)
    for shared_index in layout.git_dir.glob("sharedindex.*"):
        _link(shared_index, shadow / shared_index.name)
    exclude = _small_text(layout.common_dir / "info" / "exclude", _LONGEST_EXCLUDE)
    if exclude:
        (shadow / "info").mkdir()
        (shadow / "info" / "exclude").write_text(exclude, "utf-8", "surrogateescape")
    environment = {"GIT_OBJECT_DIRECTORY": str(layout.common_dir / "objects")}
    if layout.work_tree is not None:
        environment |= {"GIT_WORK_TREE": str(layout.work_tree), "GIT_INDEX_FILE": str(layout.git_dir / "index")}
    return Git(shadow, cwd, limits.memory_bytes, config=settings.config, environment=environment)


async def _read_settings(layout: GitLayout, scratch: Path, limits: SourceLimits) -> _Settings:
    file = layout.common_dir / "config"
    settings = _Settings()
    if not file.is_file():
        return settings
    reader = Git(make_git_dir(scratch / "config.git"), scratch, limits.memory_bytes)

    def take(record: bytes) -> None:
        raw_key, _, raw_value = record.partition(b"\n")
        key, value = raw_key.decode("utf-8", "replace"), raw_value.decode("utf-8", "replace")
        if not _VALUE.fullmatch(value):
            return
        if key in _COPIED:
            settings.config[key] = value
        elif key in _EXTENSIONS:
            settings.extensions[_EXTENSIONS[key]] = value

    await reader.records("config", "--file", str(file), "--no-includes", "-z", "--list", take=take)
    return settings


def _layout_at(folder: Path) -> GitLayout | None:
    dot_git = folder / ".git"
    try:
        if dot_git.is_dir():
            return GitLayout(dot_git, dot_git, folder) if _is_git_dir(dot_git, dot_git) else None
        pointer = _small_text(dot_git)
        if pointer is None or not pointer.startswith("gitdir: "):
            return None
        git_dir = (folder / pointer.removeprefix("gitdir: ").strip()).resolve()
        common = _small_text(git_dir / "commondir")
        common_dir = git_dir if common is None else (git_dir / common.strip()).resolve()
        return GitLayout(git_dir, common_dir, folder) if _is_git_dir(git_dir, common_dir) else None
    except (OSError, ValueError):
        return None  # no permission to look, or a pointer that is no path: no repository that could be read


def _is_git_dir(git_dir: Path, common_dir: Path) -> bool:
    try:
        return (git_dir / "HEAD").is_file() and (common_dir / "objects").is_dir() and (common_dir / "refs").exists()
    except OSError:
        return False  # no permission to look: whoever reads the directory will say so


def _small_text(path: Path, at_most: int = _LONGEST_POINTER) -> str | None:
    """Return the text of a small regular file; None if it is anything else."""
    with contextlib.suppress(OSError):
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= at_most:
            return path.read_text("utf-8", "surrogateescape")
    return None


def _link(source: Path, link: Path) -> None:
    if not source.exists():
        return
    if link.is_dir():
        link.rmdir()
    try:
        link.symlink_to(source)
    except OSError:  # Windows lets few users make links
        if source.is_dir():
            shutil.copytree(source, link)
        else:
            shutil.copy2(source, link)
