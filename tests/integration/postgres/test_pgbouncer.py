"""Through a real PgBouncer in transaction mode, as Neon's pooled address is; skipped where none is on PATH.

It has two connections to the server for everybody, so that one program's next transaction runs in
another server process than its last.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from alexandria.adapters.postgres.catalog import PostgresCatalog
from alexandria.adapters.postgres.database import Patience, PostgresDatabase
from alexandria.adapters.postgres.faults import DatabaseUnreachableError
from alexandria.adapters.postgres.schema import CATALOG, VECTORS
from alexandria.adapters.postgres.vector_store import PgVectorStore
from contract.stores import check_hits, graph_of, random_batch, snapshot_of
from integration.postgres.stores import BRIEF, NAME, empty_dsn, open_stores
from support.postgres import PASSWORD, drop_database, execute, fetch, make_database, postgres_server

# Debian keeps it where only root looks.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not on PATH")

SETTINGS = """
[databases]
* = host={server}
[pgbouncer]
pool_mode = transaction
default_pool_size = 2
max_client_conn = {clients}
auth_type = scram-sha-256
auth_file = {here}/users
unix_socket_dir = {here}
listen_addr =
listen_port = 6432
"""
CLIENTS = 40


@pytest.fixture(scope="module")
def pooler() -> Iterator[Path]:
    """Start one; the directory of its socket is its address."""
    server = postgres_server()
    here = server.directory / "pgbouncer"
    here.mkdir(mode=0o777)
    here.chmod(0o777)
    (here / "users").write_text(f'"postgres" "{PASSWORD}"\n')
    (here / "settings.ini").write_text(SETTINGS.format(server=server.directory, here=here, clients=CLIENTS))
    with (here / "log").open("wb") as log:
        process = server.spawn([str(PROGRAM), here / "settings.ini"], stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(str(here / ".s.PGSQL.6432")):
            assert process.poll() is None, (here / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    yield here
    process.terminate()
    process.wait(timeout=30)


def through(pooler: Path, database: str) -> str:
    return postgres_server().dsn(database).replace(f"host={postgres_server().directory}", f"host={pooler}&port=6432")


@pytest.fixture
async def dsn(pooler: Path) -> str:
    await empty_dsn()
    return through(pooler, NAME)


async def test_runs_follow_one_another(dsn: str) -> None:
    async with open_stores(dsn) as stores:
        for generation in (1, 2, 3):
            await stores.index(generation)
            assert await stores.visible() == generation
        assert await stores.generations_stored() == [3]
        await stores.vectors.sweep("host.example/o/r", below=await stores.catalog.delete("host.example/o/r"))
        assert await stores.generations_stored() == []


async def test_statements_of_many_tasks_over_two_connections_do_not_mix(dsn: str) -> None:
    batches = [random_batch(f"r{i}", 30 + i, seed=i) for i in range(10)]
    graphs = [graph_of([("a", str(n)) for n in range(i + 1)]) for i in range(10)]
    async with PostgresDatabase(dsn, connections=10) as one, PostgresDatabase(dsn, connections=10) as other:

        async def use(i: int, database: PostgresDatabase) -> None:
            vectors, catalog = PgVectorStore(database, chunk_rows=10), PostgresCatalog(database, cache_bytes=0)
            await vectors.upload(batches[i])
            await catalog.activate(snapshot_of(f"r{i}", graphs[i]), graphs[i])
            for _ in range(5):
                hits = await vectors.similar(f"r{i}", 1, "src/000003.py", k=4)
                check_hits(hits, batches[i], "src/000003.py", k=4)
                assert await vectors.count(f"r{i}", 1) == 30 + i
                assert len((await catalog.neighbors(f"r{i}", "a")).imports) == i + 1

        await asyncio.gather(*(use(i, database) for i in range(10) for database in (one, other)))


async def test_an_upload_that_is_cut_off_leaves_the_server_connection_in_order(dsn: str) -> None:
    batch = random_batch("r", 2000)
    async with open_stores(dsn) as stores:
        for wait_s in (0.0, 0.005, 0.01, 0.02, 0.04):
            task = asyncio.create_task(stores.vectors.upload(batch))
            await asyncio.wait([task], timeout=wait_s)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert await stores.vectors.count("r", 1) % 16 == 0  # chunks are whole
        await stores.vectors.upload(batch)
        assert await stores.vectors.count("r", 1) == 2000


async def test_nothing_is_left_in_the_session(dsn: str) -> None:
    async with open_stores(dsn) as stores:
        await stores.index(1)
    rows = await fetch(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' OR (mode LIKE '%Exclusive%' AND pid <> "
        "pg_backend_pid() AND database IS NOT NULL)"
    )
    assert rows == [(0,)]
    async with open_stores(dsn) as stores:
        names = await stores.database.read(CATALOG, lambda c: c.fetch("SELECT name FROM pg_prepared_statements"))
        limit = await stores.database.read(CATALOG, lambda c: c.fetchval("SHOW transaction_isolation"))
    assert [row["name"] for row in names if row["name"]] == []
    assert limit == "repeatable read"


async def test_programs_migrate_at_once_through_it(pooler: Path) -> None:
    await make_database("pooled")

    async def migrate() -> int:
        async with PostgresDatabase(through(pooler, "pooled"), patience=BRIEF) as database:
            return await database.migrate(CATALOG) + await database.migrate(VECTORS)

    assert sum(await asyncio.gather(*(migrate() for _ in range(6)))) == 2
    await drop_database("pooled")


async def test_a_server_that_restarts_behind_it_is_not_noticed(dsn: str) -> None:
    async with open_stores(dsn) as stores:
        await stores.index(1)
        postgres_server().stop()
        postgres_server().start()
        assert await stores.visible() == 1


async def test_a_server_that_is_away_behind_it_is_unavailable(dsn: str) -> None:
    async with open_stores(dsn, Patience(attempt_s=0.5, tries=1)) as stores:
        await stores.catalog.check()
        postgres_server().stop()
        try:
            with pytest.raises(Exception, match="integration") as caught:
                await stores.catalog.check()
        finally:
            postgres_server().start()
        assert type(caught.value.__cause__) is DatabaseUnreachableError
        await execute("SELECT 1")
