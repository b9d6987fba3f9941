"""What the stores in a SQLite file promise beyond their ports: several processes, crashes, full disks, memory."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from alexandria.adapters.sqlite.catalog import SqliteCatalog
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.vector_store import SqliteVectorStore
from alexandria.application.search import similar_files
from alexandria.ports.catalog import CatalogFullError, CatalogUnavailableError, CatalogVersionError
from alexandria.ports.vector_store import (
    VectorNotFoundError,
    VectorStoreFullError,
    VectorStoreMismatchError,
    VectorStoreUnavailableError,
)
from contract.stores import batch_of, check_hits, graph_of, random_batch, snapshot_of, vector
from integration.sqlite.generations import REPO, SIZE, batch_in, index

TESTS = Path(__file__).parents[2]
PROGRAM = [sys.executable, str(Path(__file__).with_name("generations.py"))]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "docs/examples")])}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alexandria.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database.open(path, busy_timeout_s=0.05) as opened:
        yield opened


async def check_whole(database: Database) -> int:
    """Search through the use case, and hold the answer against the one generation that it names."""
    vectors, catalog = SqliteVectorStore(database), SqliteCatalog(database)
    answer = await similar_files(REPO, "same.py", vectors=vectors, catalog=catalog, k=SIZE)
    generation = answer.snapshot.generation
    check_hits(answer.hits, batch_in(generation), "same.py", k=SIZE)
    return generation


# two processes


def test_a_reader_sees_whole_generations_while_another_process_writes(database: Database, path: Path) -> None:
    asyncio.run(index(database, 1))
    seen = [asyncio.run(check_whole(database))]
    with subprocess.Popen([*PROGRAM, str(path), "2", "100000"], env=ENVIRONMENT, stdout=subprocess.DEVNULL) as writer:
        while len(set(seen)) < 8:
            assert writer.poll() is None
            seen.append(asyncio.run(check_whole(database)))
        writer.kill()
    assert seen == sorted(seen)


@pytest.mark.parametrize("kill_after", [3, 5, 8])
def test_a_writer_that_is_killed_leaves_a_whole_index(path: Path, kill_after: int) -> None:
    with subprocess.Popen([*PROGRAM, str(path), "1", "1000"], env=ENVIRONMENT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(kill_after):
            assert writer.stdout.readline()
        writer.kill()  # somewhere in the next generation: upload, activate or sweep
        done = kill_after + len(writer.stdout.read().split())
    assert writer.returncode == -signal.SIGKILL
    with Database.open(path) as database:
        assert asyncio.run(check_whole(database)) in (done, done + 1)
        asyncio.run(index(database, 2000))  # the next run repairs what was left behind
        assert asyncio.run(check_whole(database)) == 2000
        left = asyncio.run(database.read(lambda c: c.execute("SELECT generation FROM vector_sets").fetchall()))
    assert left == [(2000,)]


DIES_WITHIN_ACTIVATE = """
import asyncio, os, signal, sys
from pathlib import Path
from integration.sqlite.generations import *

armed = False

def die(statement):
    if armed and statement.startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    global armed
    database, graph = Database.open(Path(sys.argv[1])), graph_in(2)
    await SqliteVectorStore(database).upload(batch_in(2))
    await database.write(lambda connection: connection.set_trace_callback(die))
    armed = True
    await SqliteCatalog(database).activate(snapshot_of(REPO, graph, generation=2), graph)

asyncio.run(main())
"""


@pytest.mark.parametrize("statement", ["UPDATE repositories", "COMMIT"])
def test_a_writer_that_is_killed_within_activate_changed_nothing(
    database: Database, path: Path, statement: str
) -> None:
    asyncio.run(index(database, 1))
    command = [sys.executable, "-c", DIES_WITHIN_ACTIVATE, str(path), statement]
    killed = subprocess.run(command, env=ENVIRONMENT, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert asyncio.run(check_whole(database)) == 1
    neighbors = asyncio.run(SqliteCatalog(database).neighbors(REPO, "same.py"))
    assert len(neighbors.imports) == SIZE - 1
    asyncio.run(index(database, 3))
    assert asyncio.run(check_whole(database)) == 3


async def test_what_another_process_put_in_place_of_a_set_is_found(path: Path) -> None:
    """Both sets are written by one statement each: only an id that is never used again tells them apart."""
    old = batch_of("r", {"a.py": vector(1), "old.py": vector(1)})
    new = batch_of("r", {"a.py": vector(1), "new.py": vector(1)})
    with Database.open(path) as here, Database.open(path) as there:
        mine, theirs = SqliteVectorStore(here), SqliteVectorStore(there)
        await mine.upload(old)
        assert [hit.path for hit in await mine.similar("r", 1, "a.py", k=5)] == ["old.py"]
        await theirs.discard("r", 1)
        with pytest.raises(VectorNotFoundError):
            await mine.similar("r", 1, "a.py", k=5)
        await theirs.upload(new)
        assert [hit.path for hit in await mine.similar("r", 1, "a.py", k=5)] == ["new.py"]


# what is kept in memory and in the file


async def test_matrices_stay_in_memory_within_their_limit(database: Database) -> None:
    store = SqliteVectorStore(database, cache_bytes=3 * 70_000)  # a matrix of 256 files takes 64 KiB and its paths
    for i in range(6):
        await store.upload(random_batch(f"r{i}", 256))
    for i in (0, 1, 2, 3, 4, 5, 3):
        await store.similar(f"r{i}", 1, "src/000000.py", k=1)
    kept = {name: loaded.size_bytes for name, loaded in store._cache.items()}
    assert list(kept) == ["r5", "r3"]
    assert sum(kept.values()) <= 3 * 70_000


async def test_a_matrix_above_the_limit_is_searched_and_not_kept(database: Database) -> None:
    store = SqliteVectorStore(database, cache_bytes=1000)
    batch = random_batch("r", 256)
    await store.upload(batch)
    for _ in range(2):
        check_hits(await store.similar("r", 1, "src/000000.py", k=3), batch, "src/000000.py", k=3)
    assert not store._cache


async def test_a_search_reads_the_matrix_once(database: Database) -> None:
    store = SqliteVectorStore(database)
    await store.upload(random_batch("r", 256))
    await store.similar("r", 1, "src/000000.py", k=3)
    first = store._cache["r"].index
    await asyncio.gather(*(store.similar("r", 1, f"src/{i:06}.py", k=3) for i in range(20)))
    assert store._cache["r"].index is first


def test_room_of_old_generations_is_used_again(path: Path) -> None:
    for generation in range(1, 8):
        with Database.open(path) as database:
            store = SqliteVectorStore(database)
            asyncio.run(store.upload(random_batch("r", 5000, generation=generation)))
            asyncio.run(store.sweep("r", below=generation))
    assert path.stat().st_size < 3 * 5000 * 64 * 4


# what can happen to the file, in the words of each port


async def test_a_full_disk_is_named_and_leaves_what_was_visible(database: Database) -> None:
    await index(database, 1)
    pages = await database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 20}"))
    with pytest.raises(VectorStoreFullError, match="no room left"):
        await SqliteVectorStore(database).upload(random_batch(REPO, 5000, generation=2))
    big = graph_of([("same.py", f"{'x' * 200}/{i}.py") for i in range(5000)])
    with pytest.raises(CatalogFullError, match="no room left"):
        await SqliteCatalog(database).activate(snapshot_of(REPO, big, generation=2), big)
    assert await check_whole(database) == 1


async def test_a_lock_that_is_held_too_long_is_unavailable(database: Database, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(VectorStoreUnavailableError, match="another process"):
            await SqliteVectorStore(database).upload(random_batch("r", 5))
        with pytest.raises(CatalogUnavailableError, match="another process"):
            await SqliteCatalog(database).begin("r", 1)
        await SqliteVectorStore(database).check()
        await SqliteCatalog(database).check()


async def test_a_database_of_a_newer_version_is_named(database: Database, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA user_version = 1000")
    with pytest.raises(VectorStoreMismatchError, match="newer"):
        await SqliteVectorStore(database).check()
    with pytest.raises(CatalogVersionError, match="newer"):
        await SqliteCatalog(database).check()


async def test_a_database_that_is_closed_is_unavailable(database: Database) -> None:
    database.close()
    with pytest.raises(VectorStoreUnavailableError, match="closed"):
        await SqliteVectorStore(database).count("r", 1)
    with pytest.raises(CatalogUnavailableError, match="closed"):
        await SqliteCatalog(database).snapshots()
