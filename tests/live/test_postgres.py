"""The suites of vector store and catalog over the PostgreSQL at `DATABASE_URL`, in a database of its own.

The role must be allowed to make a database; with Neon, give the direct address here. `DATABASE_URL_POOLED`,
if it is set, is the address that the tests then use: the same server through PgBouncer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from alexandria.adapters.postgres import schema
from alexandria.adapters.postgres.catalog import PostgresCatalog
from alexandria.adapters.postgres.database import PostgresDatabase
from alexandria.adapters.postgres.vector_store import PgVectorStore
from contract import test_catalog, test_vector_store
from live.suites import cases_that_take

URL = os.environ.get("DATABASE_URL", "")
POOLED_URL = os.environ.get("DATABASE_URL_POOLED", "") or URL

if not URL:
    pytest.skip("DATABASE_URL is not set", allow_module_level=True)

pytestmark = pytest.mark.live

# Both suites have tests of the same name, so those of the catalog are told apart.
globals().update(cases_that_take(test_vector_store, "store"))
globals().update(
    {
        f"test_catalog_{name.removeprefix('test_')}": test
        for name, test in cases_that_take(test_catalog, "catalog").items()
    }
)


def in_database(url: str, name: str) -> str:
    """Return the address of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def database_name() -> Iterator[str]:
    name = f"alexandria_live_{uuid4().hex[:12]}"
    asyncio.run(execute(URL, f'CREATE DATABASE "{name}"'))
    yield name
    asyncio.run(execute(URL, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def database(database_name: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(in_database(POOLED_URL, database_name)) as opened:
        await opened.migrate(schema.CATALOG)
        await opened.migrate(schema.VECTORS)
        yield opened
    await execute(
        in_database(URL, database_name),
        "TRUNCATE alexandria.repositories, alexandria.vector_sets, alexandria.vectors",
    )


@pytest.fixture
def store(database: PostgresDatabase) -> PgVectorStore:
    return PgVectorStore(database)


@pytest.fixture
def catalog(database: PostgresDatabase) -> PostgresCatalog:
    return PostgresCatalog(database)
