"""One SQLite file, shared by the tasks of a program and by several programs."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from alexandria.adapters.sqlite.schema import MIGRATIONS
from alexandria.domain.errors import AlexandriaError

T = TypeVar("T")

APPLICATION_ID = 0x416C7844
"""`AlxD` in the header of the file: other programs' databases are told apart by it."""

_READERS = 4
_RETRY_S = 0.02


class DatabaseError(AlexandriaError):
    """Root of the errors of the file; each adapter turns them into those of its port."""


class DatabaseBusyError(DatabaseError):
    """Another process held the write lock for longer than we wait. Safe to retry."""


class DatabaseFullError(DatabaseError):
    """The disk, a quota or a size limit is full; the transaction left nothing behind."""


class DatabaseAccessError(DatabaseError):
    """The file or its directory cannot be made, opened, read or written."""


class DatabaseVersionError(DatabaseError):
    """The file has a schema that this program does not know: a newer one wrote it."""


class NotADatabaseError(DatabaseError):
    """The file is damaged, no SQLite database, or that of another program."""


@dataclass(frozen=True, slots=True)
class PortErrors:
    """Which errors a port has for what can happen to the file.

    Attributes:
        unavailable: For `DatabaseBusyError`, `DatabaseAccessError`, and what the two others lack.
        full: For `DatabaseFullError`.
        mismatch: For `DatabaseVersionError` and `NotADatabaseError`.
    """

    unavailable: type[AlexandriaError]
    full: type[AlexandriaError]
    mismatch: type[AlexandriaError]

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise the port's error in place of a `DatabaseError`, with its sentence."""
        try:
            yield
        except DatabaseFullError as error:
            raise self.full(str(error)) from error
        except (DatabaseVersionError, NotADatabaseError) as error:
            raise self.mismatch(str(error)) from error
        except DatabaseError as error:
            raise self.unavailable(str(error)) from error


class Database:
    """The file, with one connection that writes and a few that read, each in its own thread.

    `read` and `write` may be called from any task of any event loop. Inside the process writes wait
    in line; between processes they wait for SQLite's lock. Readers wait for nobody and see the file
    as it was when they began (WAL). A committed write survives a crash of the machine
    (`synchronous=FULL`).

    Do not fork a process that holds one: SQLite's locks do not survive it.
    """

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]], busy_timeout_s: float) -> None:
        self.path = path
        self._migrations = migrations
        self._busy_timeout_s = busy_timeout_s
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="sqlite-write")
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-read")
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._opening = threading.Lock()
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        migrations: Sequence[Sequence[str]] = MIGRATIONS,
        busy_timeout_s: float = 10.0,
    ) -> Self:
        """Open the file, made with its directories if it is not there, and bring its schema up to date.

        Blocks while it works: milliseconds, and up to `busy_timeout_s` if others write.

        Args:
            path: Where it lies. SQLite puts two more files beside it, `-wal` and `-shm`.
            migrations: Statements of each step from an empty file to the newest schema.
            busy_timeout_s: How long to wait for other processes before `DatabaseBusyError`.

        Raises:
            DatabaseError: The leaf says why.
        """
        database = cls(path, migrations, busy_timeout_s)
        try:
            database._make_directory()
            database._writing.submit(database._prepare).result()
        except BaseException:
            database.close()
            raise
        return database

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a thread, inside a transaction that sees one moment and cannot write.

        Raises:
            DatabaseError: The leaf says why.
        """
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._run, work, "BEGIN")

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a thread, inside a transaction: all that it did stays, or, if it raised, nothing.

        A caller that is cancelled while it waits does not learn which of the two happened.

        Raises:
            DatabaseError: The leaf says why. Nothing was written.
        """
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._writing, self._run, work, "BEGIN IMMEDIATE")

    def close(self) -> None:
        """Finish what was begun and close every connection. May be called twice."""
        self._closed = True
        self._writing.shutdown()
        self._reading.shutdown()
        while self._opened:
            self._opened.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise DatabaseAccessError(f"{self.path} is closed")

    def _make_directory(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseAccessError(
                f"{self.path.parent} cannot be made: {error.strerror}. Choose another data directory"
            ) from error

    def _run(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        with self._explained():
            connection = self._connection(read_only=begin == "BEGIN")
            with _transaction(connection, begin):
                self._check_version(connection)
                return work(connection)

    def _connection(self, *, read_only: bool) -> sqlite3.Connection:
        """Return the connection of this thread; the executors keep readers and the writer apart."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            # Transactions are begun by hand. `close` runs in another thread, hence check_same_thread.
            connection = sqlite3.connect(
                self.path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False
            )
            with self._opening:
                self._opened.append(connection)
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            self._local.connection = connection
        return connection

    def _prepare(self) -> None:
        with self._explained():
            connection = self._connection(read_only=False)
            self._check_owner(connection)
            mode = self._persevere(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            if mode != "wal":
                raise DatabaseAccessError(
                    f"{self.path} lies on a file system that processes cannot share: choose a local directory"
                )
            if _pragma(connection, "user_version") < len(self._migrations):
                with _transaction(connection, "BEGIN IMMEDIATE"):
                    self._migrate(connection)
            self._check_version(connection)

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        """Refuse the database of another program before a byte of it is changed."""
        owner = _pragma(connection, "application_id")
        empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if owner != APPLICATION_ID and not (owner == 0 and empty):
            raise NotADatabaseError(f"{self.path} is the database of another program: choose another data directory")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = _pragma(
            connection, "user_version"
        )  # asked again under the lock: another process may have been faster
        for step in self._migrations[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {max(version, len(self._migrations))}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _check_version(self, connection: sqlite3.Connection) -> None:
        version, known = _pragma(connection, "user_version"), len(self._migrations)
        if version > known:
            raise DatabaseVersionError(
                f"{self.path} has schema {version} and this program knows {known}: a newer alexandria wrote it. "
                "Upgrade this one, or choose another data directory"
            )

    def _persevere(self, attempt: Callable[[], T]) -> T:
        """Repeat while the file is busy: SQLite does not itself wait when the journal mode changes."""
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_S)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise what SQLite says of the file as one of our errors; faults of a statement pass through."""
        try:
            yield
        except sqlite3.Error as error:
            code: int = getattr(error, "sqlite_errorcode", 0)  # errors of the Python module itself have none
            kind, sentence = _MEANING.get(code) or _MEANING.get(code & 0xFF) or (None, "")
            if kind is None:
                raise
            raise kind(f"{self.path} {sentence} ({error})") from error


_MEANING: dict[int, tuple[type[DatabaseError], str]] = {
    sqlite3.SQLITE_BUSY: (DatabaseBusyError, "is held by another process for too long: let it finish, then try again"),
    sqlite3.SQLITE_FULL: (DatabaseFullError, "has no room left on its disk: free some, then try again"),
    # A quota or a size limit comes as a failed write; only ENOSPC comes as SQLITE_FULL.
    sqlite3.SQLITE_IOERR_WRITE: (DatabaseFullError, "cannot grow: a quota is reached, or the disk fails"),
    sqlite3.SQLITE_IOERR: (DatabaseAccessError, "cannot be read or written"),
    sqlite3.SQLITE_NOTADB: (NotADatabaseError, "is no database: choose another data directory"),
    sqlite3.SQLITE_CORRUPT: (NotADatabaseError, "is damaged: move it away, then index again"),
    sqlite3.SQLITE_READONLY: (DatabaseAccessError, "cannot be written: check the permissions of its directory"),
    sqlite3.SQLITE_CANTOPEN: (DatabaseAccessError, "cannot be opened: check the permissions of its directory"),
    sqlite3.SQLITE_PERM: (DatabaseAccessError, "cannot be opened: check the permissions of its directory"),
}
"""By extended result code, then by primary one."""


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # when the disk is full, SQLite may have rolled back by itself
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
