"""A PostgreSQL for the benchmarks, as it comes: on the disk, with every commit synced."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexandria.adapters.postgres.database import PostgresDatabase
from alexandria.adapters.postgres.schema import CATALOG, VECTORS

AS_IT_COMES = ("listen_addresses=", "log_min_messages=warning")

_SIZE = (
    "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class "
    "WHERE relnamespace = 'alexandria'::regnamespace AND relkind = 'r'"
)


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Run the server whose data lie in `directory`; the value is the address of its database."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from support.postgres import PostgresServer  # noqa: PLC0415 (a part of the tests, where the binaries are known)

    for folder in (directory, directory.parent):
        folder.chmod(0o755)  # the server runs as nobody when we are root
    home = directory / "postgres"
    home.mkdir(exist_ok=True)
    server = PostgresServer(home, AS_IT_COMES)
    try:
        yield server.dsn("postgres")
    finally:
        server.stop(how=signal.SIGINT)


async def migrate(database: PostgresDatabase) -> None:
    """Make the tables, if they are not there."""
    await database.migrate(CATALOG)
    await database.migrate(VECTORS)


async def size_bytes(database: PostgresDatabase) -> int:
    """Return what our tables take of the disk, with their indexes and what is kept out of line."""
    return int(await database.read(CATALOG, lambda connection: connection.fetchval(_SIZE)))
