"""Private temporary directories that never outlive their process for long."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexandria.ports.repo_source import RepoSourceError

if sys.platform != "win32":
    import fcntl

PREFIX = "alexandria-repo-"
_LOCK = "lock"


@contextmanager
def private_directory(parent: Path) -> Iterator[Path]:
    """Make a fresh directory that only this user may enter; leaving removes it with all in it.

    Its name carries the process id, for people. A lock held on a file inside tells `sweep_leftovers`,
    in any process that sees the same disk, that the directory is in use; the system drops it when
    the process dies, however that happens.

    Raises:
        RepoSourceError: It cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent)).resolve()
    except OSError as error:
        raise RepoSourceError(f"no temporary directory can be made in {parent}: {error.strerror}") from error
    lock = None
    try:
        lock = _hold(path)
        yield path
    finally:
        if lock is not None:
            os.close(lock)
        remove(path)


def sweep_leftovers(parent: Path) -> int:
    """Remove the directories that killed processes left in `parent`; return how many.

    Where the platform has no file locks nothing is removed: a directory in use would look the same.
    """
    if not parent.is_dir():
        return 0
    swept = 0
    for path in parent.glob(f"{PREFIX}*"):
        if not path.is_symlink() and _is_abandoned(path):
            remove(path)
            swept += 1
    return swept


def remove(path: Path) -> None:
    """Remove a directory; what is in it may be read-only, or still be written to by a dying process."""
    for _ in range(5):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        for inner in [path, *path.rglob("*")]:
            if not inner.is_symlink() and inner.exists():
                inner.chmod(stat.S_IRWXU)
    shutil.rmtree(path)


def directory_bytes(path: Path) -> int:
    """Sum of the sizes of the files under `path`, which may change while they are counted."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - called often
            except FileNotFoundError:
                continue  # renamed or removed in between
    return total


if sys.platform != "win32":

    def _hold(path: Path) -> int | None:
        # Locked under another name first: a sweeper must never meet the lock file unlocked.
        fresh = path / f"{_LOCK}.new"
        lock = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(path / _LOCK)
        return lock

    def _is_abandoned(path: Path) -> bool:
        try:
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            # Just being made or removed, unless its process is dead: killed before it held the lock, or its git
            # lived on for a moment and wrote what a sweep was removing.
            return not _maker_lives(path)
        except OSError:
            return False  # another user's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True

    def _maker_lives(path: Path) -> bool:
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if not pid.isdecimal():
            return True
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            return True  # another user's process, or no process id of this system
        return True

else:

    def _hold(path: Path) -> int | None:
        return None

    def _is_abandoned(path: Path) -> bool:
        return False
