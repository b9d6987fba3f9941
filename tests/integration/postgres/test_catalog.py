"""What the catalog in PostgreSQL keeps in memory, and that nobody notices; what a read sees."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from alexandria.adapters.postgres.catalog import PostgresCatalog
from alexandria.adapters.postgres.database import Connection
from alexandria.adapters.postgres.schema import CATALOG
from alexandria.ports.catalog import RepositoryNotFoundError
from contract.stores import graph_of, snapshot_of
from integration.postgres.proxy import Proxy, proxy
from integration.postgres.stores import NAME, Stores, empty_dsn, open_stores
from support.postgres import postgres_server

BIG = graph_of([("a.py", f"{i * i * 7919}.py") for i in range(2000)])


@pytest.fixture
async def stores() -> AsyncIterator[Stores]:
    async with open_stores(await empty_dsn()) as opened:
        yield opened


class Meter:
    """Counts what the server sends."""

    def __init__(self, way: Proxy) -> None:
        self._way = way
        self._before = way.answered_bytes

    def read(self) -> int:
        """Return the bytes since the last time."""
        since = self._way.answered_bytes - self._before
        self._before = self._way.answered_bytes
        return since


async def test_the_row_of_a_generation_is_read_once(stores: Stores) -> None:
    await stores.catalog.activate(snapshot_of("r", BIG), BIG)
    async with proxy() as way, open_stores(way.dsn(NAME)) as reader:
        meter = Meter(way)
        await reader.catalog.files("r")
        assert meter.read() > 20_000
        for _ in range(5):
            await reader.catalog.neighbors("r", "a.py")
        assert meter.read() < 10_000
        await stores.catalog.activate(snapshot_of("r", BIG, generation=2), BIG)
        await reader.catalog.files("r")
        assert meter.read() > 20_000


async def test_what_another_program_activates_or_deletes_is_seen_at_once(stores: Stores) -> None:
    one, two = graph_of([("a.py", "b.py")]), graph_of([("a.py", "c.py")])
    reader = PostgresCatalog(stores.database)
    for generation, graph in enumerate((one, two, one), 1):
        await stores.catalog.activate(snapshot_of("r", graph, generation=generation), graph)
        assert (await reader.graph("r")).files == graph.files
    await stores.catalog.delete("r")
    with pytest.raises(RepositoryNotFoundError):
        await reader.graph("r")


async def test_rows_stay_in_memory_within_their_limit(stores: Stores) -> None:
    catalog = PostgresCatalog(stores.database, cache_bytes=150_000)
    for i in range(6):
        await catalog.activate(snapshot_of(f"r{i}", BIG), BIG)
    for i in (0, 1, 2, 3, 4, 5, 3):
        await catalog.files(f"r{i}")
    sizes = {repo: loaded.size_bytes for repo, loaded in catalog._cache.items()}
    assert list(sizes)[-2:] == ["r5", "r3"]
    assert 50_000 < sum(sizes.values()) <= 150_000
    assert sum(sizes.values()) + sizes["r3"] > 150_000
    small = PostgresCatalog(stores.database, cache_bytes=10)
    assert len(await small.files("r0", limit=5000)) == 2001
    assert not small._cache


async def test_a_read_sees_one_moment_whatever_is_activated_meanwhile(stores: Stores) -> None:
    """The head of a row and its columns are two statements, and so are the pages of an export."""
    await stores.index(1)

    async def look_twice(connection: Connection) -> list[int]:
        query = "SELECT generation FROM alexandria.repositories"
        first = await connection.fetchval(query)
        async with open_stores(postgres_server().dsn(NAME)) as other:
            await other.index(2)
        return [first, await connection.fetchval(query)]

    assert await stores.database.read(CATALOG, look_twice) == [1, 1]
    assert await stores.visible() == 2
