"""Bringing the tables up to date: by command, once, by however many programs at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from alexandria.adapters.postgres.database import PostgresDatabase
from alexandria.adapters.postgres.faults import (
    AccessDeniedError,
    DatabaseVersionError,
    ExtensionMissingError,
    NotMigratedError,
)
from alexandria.adapters.postgres.schema import CATALOG, VECTORS, SchemaPart
from integration.postgres.stores import BRIEF, open_stores
from support.postgres import PASSWORD, drop_database, execute, fetch, make_database, postgres_server

NAME = "migrations"
NEXT = replace(CATALOG, steps=(*CATALOG.steps, ("ALTER TABLE alexandria.repositories ADD note text",)))
BROKEN = replace(CATALOG, steps=(*CATALOG.steps, ("ALTER TABLE alexandria.repositories ADD note text", "SELECT 1 / 0")))


@pytest.fixture
async def dsn() -> AsyncIterator[str]:
    yield await make_database(NAME)
    await drop_database(NAME)


async def migrate(dsn: str, *parts: SchemaPart) -> list[int]:
    async with PostgresDatabase(dsn, patience=BRIEF) as database:
        return [await database.migrate(part) for part in parts]


async def applied() -> list[tuple[str, int]]:
    rows = await fetch("SELECT part, version FROM alexandria.migrations ORDER BY 1, 2", database=NAME)
    return [(part, version) for part, version in rows]


async def test_nothing_is_made_before_the_command_is_given(dsn: str) -> None:
    async with PostgresDatabase(dsn, patience=BRIEF) as database:
        with pytest.raises(NotMigratedError, match="run `alexandria migrate`"):
            await database.read(CATALOG, lambda connection: connection.fetch("SELECT 1"))
    assert await fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'alexandria'", database=NAME) == []


async def test_every_step_is_taken_once(dsn: str) -> None:
    assert await migrate(dsn, CATALOG, VECTORS) == [1, 1]
    assert await migrate(dsn, CATALOG, VECTORS) == [0, 0]
    assert await applied() == [("catalog", 1), ("vectors", 1)]
    assert await migrate(dsn, NEXT) == [1]
    assert await applied() == [("catalog", 1), ("catalog", 2), ("vectors", 1)]


async def test_what_was_stored_stays(dsn: str) -> None:
    await migrate(dsn, CATALOG, VECTORS)
    async with open_stores(dsn) as stores:
        await stores.index(1)
    await migrate(dsn, CATALOG, VECTORS)
    async with open_stores(dsn) as stores:
        assert await stores.visible() == 1


async def test_tables_of_an_older_version_are_named(dsn: str) -> None:
    await migrate(dsn, CATALOG)
    async with PostgresDatabase(dsn, patience=BRIEF) as database:
        with pytest.raises(NotMigratedError, match=r"version 1 .* knows 2: run `alexandria migrate`"):
            await database.read(NEXT, lambda connection: connection.fetch("SELECT 1"))


async def test_tables_of_a_newer_version_are_left_alone(dsn: str) -> None:
    await migrate(dsn, NEXT)
    with pytest.raises(DatabaseVersionError, match=r"version 2 .* knows 1: a newer alexandria"):
        await migrate(dsn, CATALOG)


async def test_a_step_that_fails_leaves_nothing_behind(dsn: str) -> None:
    await migrate(dsn, CATALOG)
    with pytest.raises(Exception, match="division by zero"):
        await migrate(dsn, BROKEN)
    assert await applied() == [("catalog", 1)]
    assert await migrate(dsn, NEXT) == [1]


async def test_programs_that_migrate_at_once_take_every_step_once(dsn: str) -> None:
    results = await asyncio.gather(*(migrate(dsn, CATALOG, VECTORS, NEXT) for _ in range(8)))
    assert [sum(column) for column in zip(*results, strict=True)] == [1, 1, 1]
    assert await applied() == [("catalog", 1), ("catalog", 2), ("vectors", 1)]


async def test_the_catalog_needs_no_extension(dsn: str) -> None:
    await hide_extensions()
    assert await migrate(dsn, CATALOG) == [1]
    async with open_stores(dsn) as stores:
        await stores.catalog.begin("r", 1)


async def test_a_server_without_pgvector_is_named(dsn: str) -> None:
    await hide_extensions()
    with pytest.raises(
        ExtensionMissingError, match="pgvector: install it on the server, or keep the vectors elsewhere"
    ):
        await migrate(dsn, VECTORS)
    assert await fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'alexandria'", database=NAME) == []


async def hide_extensions() -> None:
    """Let the server look for extensions where there are none."""
    await execute(f"ALTER DATABASE {NAME} SET extension_control_path = '/nowhere'")


async def test_a_user_who_may_not_make_tables_is_refused_access(dsn: str) -> None:
    await execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    try:
        with pytest.raises(AccessDeniedError, match="rights"):
            await migrate(postgres_server().dsn(NAME, user="guest"), CATALOG)
    finally:
        await execute("DROP ROLE guest")


async def test_a_user_with_the_rights_to_our_tables_alone_can_work(dsn: str) -> None:
    """Migrated by the owner; the program runs as one who may make nothing."""
    await migrate(dsn, CATALOG, VECTORS)
    await execute(f"CREATE ROLE worker LOGIN PASSWORD '{PASSWORD}'")
    try:
        for right in ("USAGE ON SCHEMA", "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA"):
            await execute(f"GRANT {right} alexandria TO worker", database=NAME)
        address = postgres_server().dsn(NAME, user="worker")
        assert await migrate(address, CATALOG, VECTORS) == [0, 0]
        async with open_stores(address) as stores:
            await stores.index(1)
            await stores.index(2)
            await stores.vectors.discard("r", 1)
            assert await stores.visible() == 2
    finally:
        await execute("DROP OWNED BY worker", database=NAME)
        await execute("DROP ROLE worker")


async def test_the_order_of_paths_is_that_of_code_points_whatever_the_database_sorts_by(dsn: str) -> None:
    await migrate(dsn, CATALOG, VECTORS)
    rows = await fetch(
        "SELECT attname FROM pg_attribute WHERE attcollation = (SELECT oid FROM pg_collation WHERE collname = 'C') "
        "AND attrelid IN ('alexandria.repositories'::regclass, 'alexandria.vectors'::regclass, "
        "'alexandria.vector_sets'::regclass) ORDER BY 1",
        database=NAME,
    )
    assert rows == [("path",), ("repo",), ("repo",)]
