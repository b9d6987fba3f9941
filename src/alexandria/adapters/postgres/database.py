"""One PostgreSQL, shared by the tasks of a program and by many programs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from alexandria.adapters.postgres.faults import (
    TRANSIENT,
    WRONG_VERSION,
    DatabaseUnreachableError,
    DatabaseVersionError,
    ExtensionMissingError,
    InsecureAddressError,
    MalformedAddressError,
    NotMigratedError,
    explained,
)
from alexandria.adapters.postgres.schema import SchemaPart
from alexandria.domain.late import LateModule
from alexandria.domain.transport import is_private_dsn

if TYPE_CHECKING:
    import asyncpg
    import stamina
else:
    asyncpg, stamina = LateModule("asyncpg"), LateModule("stamina")

T = TypeVar("T")

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_CLIENT_OPTIONS = frozenset(
    {
        "channel_binding",
        "connect_timeout",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "pgbouncer",
        "require_auth",
        "tcp_user_timeout",
    }
)
"""What addresses carry for other clients. asyncpg hands on whatever it does not know to the server, which
then refuses the connection; Neon's own addresses carry `channel_binding`."""

_LOCK = 0x416C7844
"""`AlxD`: the key of the lock that migrations hold."""

_MIGRATIONS = """
CREATE TABLE alexandria.migrations (
    part text NOT NULL,
    version integer NOT NULL,
    migrated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (part, version)
)
"""

_LOOK_AT_VERSION = """
DO $$
DECLARE found integer := (SELECT coalesce(max(version), 0) FROM alexandria.migrations WHERE part = '{part.name}');
BEGIN
    IF found <> {part.version} THEN RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = found; END IF;
END $$
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how often to try.

    Attributes:
        connect_s: For a connection. A database that sleeps takes some 5 s to its first answer.
        statement_s: What the server gives one statement.
        attempt_s: For one try of a transaction, connecting included.
        migrate_s: As `statement_s` and `attempt_s`, for a migration.
        tries: How often in all.
        backoff_s: Wait before the second try; twice that before the third; jitter of as much comes on top.
    """

    connect_s: float = 15.0
    statement_s: float = 20.0
    attempt_s: float = 40.0
    migrate_s: float = 600.0
    tries: int = 3
    backoff_s: float = 0.5


@dataclass(frozen=True, slots=True)
class _Transaction:
    """How a transaction begins: in one message, so that it costs one way to the server and back."""

    begin: str
    limit_s: float
    part: SchemaPart | None = None


class PostgresDatabase:
    """A pool of connections that opens none until it is asked, for the tasks of one event loop.

    Every call is one transaction, tried again when the connection breaks or the server is busy: so
    what it does must have the same effect when it is done twice. Nothing lives in the session, no
    prepared statement either, and no statement runs outside of a transaction: behind PgBouncer in
    transaction mode (Neon's pooled address) the next one may go to another server process.

    Args:
        dsn: `postgresql://user:password@host/database?sslmode=require`; a host that is this
            machine, or the directory of a socket, may go without `sslmode`. With `verify-full` the
            server must prove its name: by the certificates that this machine trusts, or by those in
            the file `sslrootcert`.
        patience: How long to wait, and how often to try.
        connections: At most so many at once.

    Raises:
        InsecureAddressError: The address would send the password in the clear.
        MalformedAddressError: It is no such address.
    """

    def __init__(self, dsn: str, *, patience: Patience | None = None, connections: int = 10) -> None:
        self._dsn, self._tls = _checked(dsn)
        self.place = _place(dsn)
        self._patience = patience or Patience()
        self._connections = connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._closed = False

    async def read(self, part: SchemaPart, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction that sees one moment and cannot write.

        Args:
            part: Tables that `work` uses; their version is looked at first.
            work: May run more than once.

        Raises:
            DatabaseError: The leaf says why.
        """
        return await self._persevere(self._transaction("REPEATABLE READ READ ONLY", part), work)

    async def write(self, part: SchemaPart, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction: all that it did stays, or, if it raised, nothing.

        Each of its statements sees what others have committed before it.

        Args:
            part: Tables that `work` uses; their version is looked at first.
            work: May run more than once, also after a first run was carried out whole.

        Raises:
            DatabaseError: The leaf says why.
        """
        return await self._persevere(self._transaction("READ COMMITTED", part), work)

    async def migrate(self, part: SchemaPart) -> int:
        """Bring the tables of `part` up to date, in one transaction; return how many steps that took.

        Programs that do so at once wait for each other. Safe to repeat.

        Raises:
            DatabaseVersionError: They are those of a newer version.
            ExtensionMissingError: The server does not have pgvector.
            DatabaseError: Another leaf says why.
        """

        async def work(connection: Connection) -> int:
            # Ends with the transaction: a lock of the session would stay in a pooler's connection.
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            # Not IF NOT EXISTS: that asks for the right to create even when nothing is to be created.
            if await connection.fetchval("SELECT to_regnamespace('alexandria')::text") is None:
                await connection.execute("CREATE SCHEMA alexandria")
            if await connection.fetchval("SELECT to_regclass('alexandria.migrations')::text") is None:
                await connection.execute(_MIGRATIONS)
            return await self._take_steps(connection, part)

        limit_s = self._patience.migrate_s
        return await self._persevere(_Transaction(_begin("READ COMMITTED", limit_s), limit_s), work)

    async def close(self) -> None:
        """Close every connection; what is still going on is broken off after a moment. May be called twice."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(self._patience.statement_s):
                    await pool.close()
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _take_steps(self, connection: Connection, part: SchemaPart) -> int:
        found: int = await connection.fetchval(
            "SELECT coalesce(max(version), 0) FROM alexandria.migrations WHERE part = $1", part.name
        )
        if found > part.version:
            raise _wrong_version(self.place, part, found)
        for version, step in enumerate(part.steps[found:], found + 1):
            for statement in step:
                try:
                    await connection.execute(statement)
                except (asyncpg.FeatureNotSupportedError, asyncpg.UndefinedFileError) as error:
                    # 0A000, and 58P01 before PostgreSQL 16.
                    raise ExtensionMissingError(
                        f"{self.place} does not have the extension pgvector: install it on the server, or keep the "
                        f"vectors elsewhere, by VECTOR_STORE ({error.args[0]})"
                    ) from error
            await connection.execute("INSERT INTO alexandria.migrations VALUES ($1, $2)", part.name, version)
        return part.version - found

    def _transaction(self, isolation: str, part: SchemaPart) -> _Transaction:
        look = _LOOK_AT_VERSION.format(part=part, state=WRONG_VERSION)
        begin = _begin(isolation, self._patience.statement_s)
        return _Transaction(f"{begin}; {look}", self._patience.attempt_s, part)

    @cached_property
    def _retrying(self) -> stamina.BoundAsyncRetryingCaller:
        return stamina.AsyncRetryingCaller(
            attempts=self._patience.tries,
            timeout=None,
            wait_initial=self._patience.backoff_s,
            wait_max=self._patience.backoff_s * 10,
            wait_jitter=self._patience.backoff_s,
        ).on(TRANSIENT)

    async def _persevere(self, transaction: _Transaction, work: Callable[[Connection], Awaitable[T]]) -> T:
        async def attempt() -> T:
            with explained(self.place):
                async with asyncio.timeout(transaction.limit_s), self._connection() as connection:
                    await self._begin(connection, transaction)
                    result = await work(connection)
                    await connection.execute("COMMIT")
                    return result

        return await self._retrying(attempt)

    async def _begin(self, connection: Connection, transaction: _Transaction) -> None:
        try:
            await connection.execute(transaction.begin)
        except asyncpg.PostgresError as error:
            if transaction.part is None or error.sqlstate != WRONG_VERSION:
                raise
            raise _wrong_version(self.place, transaction.part, int(error.args[0])) from error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. After any error it is closed, which undoes its transaction, too."""
        pool = await self._open()
        connection = await pool.acquire()
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        finally:
            await pool.release(connection)

    async def _open(self) -> asyncpg.Pool[asyncpg.Record]:
        if self._closed:
            raise DatabaseUnreachableError(f"{self.place} was closed by us")
        if self._pool is None:
            from asyncpg import create_pool  # noqa: PLC0415  # with the first transaction

            self._pool = create_pool(
                self._dsn,
                min_size=0,
                max_size=self._connections,
                max_inactive_connection_lifetime=60.0,
                statement_cache_size=0,
                ssl=self._tls,
                timeout=self._patience.connect_s,
                reset=_keep,
            )
            await self._pool  # makes no connection yet, and so waits for nothing
        return self._pool


async def _keep(_: object) -> None:
    """Do nothing when a connection comes back: no session state was left, and asyncpg's way costs one more answer."""


def _begin(isolation: str, statement_s: float) -> str:
    return f"BEGIN ISOLATION LEVEL {isolation}; SET LOCAL statement_timeout = {round(statement_s * 1000)}"


def _wrong_version(place: str, part: SchemaPart, found: int) -> NotMigratedError | DatabaseVersionError:
    seen = f"{place} has version {found} of the tables for the {part.name} and this program knows {part.version}"
    if found > part.version:
        return DatabaseVersionError(f"{seen}: a newer alexandria migrated it. Upgrade this one")
    return NotMigratedError(f"{seen}: run `alexandria migrate`")


def _checked(dsn: str) -> tuple[str, ssl.SSLContext | None]:
    """Return the address as asyncpg takes it, and how to check certificates if that is not said in it.

    No part of the address may stand in an error: any may be secret.
    """
    try:
        parts = urlsplit(dsn)
        private = is_private_dsn(dsn)
    except ValueError:
        raise MalformedAddressError("DATABASE_URL is no address of a database") from None
    # A bare `/`, `?` or `#` in the password ends the host too early; what follows would be taken for a database.
    if parts.scheme not in {"postgresql", "postgres"} or parts.fragment or "@" in parts.path + parts.query:
        raise MalformedAddressError(
            "DATABASE_URL must be postgresql://user:password@host/database; `/`, `?`, `#`, `@` and `%` in a part "
            "are written %2F, %3F, %23, %40 and %25"
        )
    if not private:
        raise InsecureAddressError(
            "DATABASE_URL must carry sslmode=require or stronger (not needed on this machine): "
            "the password would travel in the clear"
        )
    options = {key: value for key, value in parse_qsl(parts.query) if key not in _CLIENT_OPTIONS}
    tls = None
    # asyncpg looks for certificates in files only, and without one refuses these modes.
    if options.get("sslmode") in {"verify-ca", "verify-full"} and options.get("sslrootcert", "system") == "system":
        tls = ssl.create_default_context()
        tls.check_hostname = options.pop("sslmode") == "verify-full"
        options.pop("sslrootcert", None)
    return parts._replace(query=urlencode(options)).geturl(), tls


def _place(dsn: str) -> str:
    parts = urlsplit(dsn)
    return f"the database {unquote(parts.path).removeprefix('/')!r} at {parts.hostname or 'this machine'}"
