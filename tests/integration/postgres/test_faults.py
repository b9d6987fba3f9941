"""What can happen to the server and on the way to it, and what it is in the words of each port."""

from __future__ import annotations

import asyncio
import random
import signal
import string
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import asyncpg
import numpy as np
import pytest
from stamina.instrumentation import set_on_retry_hooks

from alexandria.adapters.postgres.database import Patience, PostgresDatabase
from alexandria.adapters.postgres.faults import (
    AccessDeniedError,
    DatabaseBusyError,
    DatabaseFullError,
    DatabaseMissingError,
    DatabaseUnreachableError,
    DatabaseVersionError,
    DataRefusedError,
    InsecureAddressError,
    MalformedAddressError,
    NotMigratedError,
    StatementTimeoutError,
)
from alexandria.domain.errors import AlexandriaError
from alexandria.ports.catalog import (
    CatalogAccessError,
    CatalogFullError,
    CatalogUnavailableError,
    CatalogVersionError,
)
from alexandria.ports.vector_store import (
    VectorStoreAccessError,
    VectorStoreFullError,
    VectorStoreMismatchError,
    VectorStoreUnavailableError,
)
from contract.stores import batch_of, graph_of, random_batch, snapshot_of, vector
from integration.postgres.proxy import proxy
from integration.postgres.stores import (
    NAME,
    ONCE,
    REPO,
    Stores,
    empty_dsn,
    migrated,
    open_stores,
)
from support.postgres import PASSWORD, drop_database, execute, fetch, make_database, postgres_server

COMMIT = b"COMMIT\0"  # without its end, it is in BEGIN ISOLATION LEVEL READ COMMITTED, too

Call = Callable[[Stores], Awaitable[object]]

CALLS: dict[str, Call] = {
    "catalog.begin": lambda stores: stores.catalog.begin(REPO, 1),
    "catalog.activate": lambda stores: stores.catalog.activate(snapshot_of(REPO, graph_of()), graph_of()),
    "catalog.snapshot": lambda stores: stores.catalog.snapshot(REPO),
    "catalog.snapshots": lambda stores: stores.catalog.snapshots(),
    "catalog.files": lambda stores: stores.catalog.files(REPO),
    "catalog.delete": lambda stores: stores.catalog.delete(REPO),
    "catalog.check": lambda stores: stores.catalog.check(),
    "vectors.upload": lambda stores: stores.vectors.upload(random_batch(REPO, 5)),
    "vectors.count": lambda stores: stores.vectors.count(REPO, 1),
    "vectors.similar": lambda stores: stores.vectors.similar(REPO, 1, "a.py", k=1),
    "vectors.export": lambda stores: stores.vectors.export(REPO, 1),
    "vectors.sweep": lambda stores: stores.vectors.sweep(REPO, below=2),
    "vectors.discard": lambda stores: stores.vectors.discard(REPO, 1),
    "vectors.check": lambda stores: stores.vectors.check(),
}


@pytest.fixture
async def dsn() -> str:
    return await empty_dsn()


async def check_all(
    stores: Stores,
    catalog: type[AlexandriaError],
    vectors: type[AlexandriaError],
    cause: type[AlexandriaError],
    say: str,
) -> None:
    """Every method of both ports raises its port's error, caused by ours, with a sentence and without a secret."""
    for name, call in CALLS.items():
        with pytest.raises(catalog if name.startswith("catalog") else vectors, match=say) as caught:
            await call(stores)
        assert type(caught.value.__cause__) is cause, name
        told = "".join(traceback.format_exception(caught.value))
        assert PASSWORD not in told
        assert quote(PASSWORD, safe="") not in told


# it cannot be reached


async def test_a_server_that_is_not_there_stops_no_start_and_makes_every_call_unavailable(tmp_path: Path) -> None:
    dsn = f"postgresql://u:{quote(PASSWORD, safe='')}@/x?host={tmp_path}"
    async with open_stores(dsn) as stores:
        await check_all(
            stores, CatalogUnavailableError, VectorStoreUnavailableError, DatabaseUnreachableError, "cannot be reached"
        )


async def test_what_is_not_there_now_may_be_there_at_the_next_call(dsn: str) -> None:
    server = postgres_server()
    async with open_stores(dsn) as stores:
        server.stop()
        try:
            with pytest.raises(CatalogUnavailableError):
                await stores.catalog.check()
        finally:
            server.start()
        await stores.index(1)
        assert await stores.visible() == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_a_restart_in_mid_use_is_not_noticed(dsn: str, how: signal.Signals) -> None:
    server = postgres_server()
    async with open_stores(dsn) as stores:
        await stores.index(1)
        server.stop(how=how)
        server.start()
        assert await stores.visible() == 1
        await stores.index(2)
        assert await stores.visible() == 2


@pytest.mark.parametrize("delay_s", [0.2, pytest.param(5.0, marks=pytest.mark.long)])
async def test_a_database_that_sleeps_is_waited_for(dsn: str, delay_s: float) -> None:
    async with proxy(delay_s=delay_s) as way, open_stores(way.dsn(NAME), Patience()) as stores:
        await stores.catalog.check()
        await stores.vectors.check()
        assert way.connections == 1


async def test_one_that_does_not_wake_up_is_unavailable(dsn: str) -> None:
    impatient = Patience(connect_s=0.05, backoff_s=0.001)
    async with proxy(delay_s=60) as way, open_stores(way.dsn(NAME), impatient) as stores:
        with pytest.raises(CatalogUnavailableError, match="did not answer in time"):
            await stores.catalog.check()
        assert way.connections == 3


async def test_one_that_falls_silent_is_unavailable(dsn: str) -> None:
    async with proxy() as way, open_stores(way.dsn(NAME), Patience(attempt_s=0.3, tries=1)) as stores:
        await stores.catalog.check()
        holder = await asyncpg.connect(dsn)
        async with holder.transaction():
            await holder.execute("LOCK TABLE alexandria.migrations IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(CatalogUnavailableError, match="did not answer in time"):
                await stores.catalog.check()
        await holder.close()
        await stores.catalog.check()


async def test_what_answers_and_is_no_postgres_is_unavailable() -> None:
    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with open_stores(f"postgresql://u@127.0.0.1:{port}/x", ONCE) as stores:
            with pytest.raises(CatalogUnavailableError):
                await stores.catalog.check()


async def test_a_server_without_tls_is_not_spoken_to_in_the_clear(dsn: str) -> None:
    sizes: list[int] = []

    def note(message: bytes) -> bool:
        sizes.append(len(message))
        return False

    async with proxy(note) as way, open_stores(f"{way.dsn(NAME)}?sslmode=require", ONCE) as stores:
        with pytest.raises(CatalogUnavailableError):
            await stores.catalog.check()
    assert sizes == [8]  # the question for TLS, and nothing more


# tries


async def test_there_are_three_tries_and_no_more(dsn: str) -> None:
    async with proxy(lambda message: True) as way, open_stores(way.dsn(NAME)) as stores:
        with pytest.raises(VectorStoreUnavailableError):
            await stores.vectors.count(REPO, 1)
        assert way.connections == 3


async def test_the_second_try_may_go_well(dsn: str) -> None:
    async with proxy() as way, open_stores(way.dsn(NAME)) as stores:
        way.cut = lambda message: way.connections == 1
        assert await stores.vectors.count(REPO, 1) == 0
        assert way.connections == 2


async def test_waits_between_tries_grow_and_are_not_all_the_same(tmp_path: Path) -> None:
    waits: list[float] = []
    set_on_retry_hooks([lambda details: waits.append(details.wait_for)])
    try:
        async with open_stores(f"postgresql://u@/x?host={tmp_path}", Patience(backoff_s=0.01)) as stores:
            for _ in range(3):
                with pytest.raises(CatalogUnavailableError):
                    await stores.catalog.check()
    finally:
        set_on_retry_hooks(None)
    assert all(0.01 <= wait <= 0.02 for wait in waits[::2])
    assert all(0.02 <= wait <= 0.03 for wait in waits[1::2])
    assert len(set(waits)) == 6


@pytest.mark.parametrize("statement", [b"BEGIN", b"INSERT", b"DELETE", b"PGCOPY", b"UPDATE", COMMIT])
@pytest.mark.parametrize("after", [False, True], ids=["not carried out", "carried out"])
async def test_a_connection_that_drops_once_is_not_noticed(dsn: str, statement: bytes, after: bool) -> None:
    dropped: list[bytes] = []

    def first_of_its_kind(message: bytes) -> bool:
        if dropped or statement not in message:
            return False
        dropped.append(message)
        return True

    async with proxy(first_of_its_kind, after=after) as way, open_stores(way.dsn(NAME)) as stores:
        await stores.index(1)
        assert await stores.visible() == 1
        assert dropped
        assert await stores.generations_stored() == [1]


@pytest.mark.parametrize("after", [False, True], ids=["not carried out", "carried out"])
async def test_an_activation_whose_answer_is_lost_happened_or_did_not(dsn: str, after: bool) -> None:
    graph = graph_of([("a.py", "b.py")])
    snapshot = snapshot_of(REPO, graph, generation=3)
    async with proxy(lambda message: COMMIT in message, after=after) as way, open_stores(way.dsn(NAME), ONCE) as stores:
        with pytest.raises(CatalogUnavailableError):
            await stores.catalog.activate(snapshot, graph)
    async with open_stores(dsn) as stores:
        assert await stores.catalog.snapshots() == ([snapshot] if after else [])
        await stores.catalog.activate(snapshot, graph)
        assert await stores.catalog.snapshots() == [snapshot]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_message_is_repaired_by_the_next_run(dsn: str, after: bool) -> None:
    """The wire is cut at the first message of a run, then at the second, and so on, until a run ends whole."""
    whole, last = 1, 0
    async with open_stores(dsn) as observer:
        await observer.index(whole)
        while last < 1000:
            last += 1
            countdown = iter(range(last - 1, -1, -1))
            async with (
                proxy(lambda _, left=countdown: next(left) == 0, after=after) as way,  # type: ignore[misc]
                open_stores(way.dsn(NAME), ONCE) as stores,
            ):
                try:
                    await stores.index(whole + 1)
                    break
                except (CatalogUnavailableError, VectorStoreUnavailableError):
                    pass
            assert await observer.visible() in (whole, whole + 1)
            whole += 2
            await observer.index(whole)
            assert await observer.visible() == whole
            assert await observer.generations_stored() == [whole]
        assert await observer.visible() == whole + 1
        assert await observer.generations_stored() == [whole + 1]
    assert last > 40


async def test_a_statement_that_takes_too_long_is_unavailable_and_not_repeated(dsn: str) -> None:
    holder = await asyncpg.connect(dsn)
    async with proxy() as way, open_stores(way.dsn(NAME), Patience(statement_s=0.1)) as stores:
        await stores.catalog.begin(REPO, 1)
        async with holder.transaction():
            await holder.execute("SELECT 1 FROM alexandria.repositories FOR UPDATE")
            with pytest.raises(CatalogUnavailableError, match="took too long") as caught:
                await stores.catalog.begin(REPO, 2)
        assert type(caught.value.__cause__) is StatementTimeoutError
        assert way.connections == 1
        await stores.catalog.begin(REPO, 2)
    await holder.close()


# it does not let us in


async def test_a_wrong_password_is_refused_access_and_not_repeated(dsn: str) -> None:
    async with proxy() as way:
        address = postgres_server().dsn(NAME, password=f"{PASSWORD}x", host=f"127.0.0.1:{way.port}")
        async with open_stores(address) as stores:
            await check_all(stores, CatalogAccessError, VectorStoreAccessError, AccessDeniedError, "user and password")
        assert way.connections == len(CALLS)


async def test_a_database_that_is_gone_is_named() -> None:
    async with open_stores(postgres_server().dsn("nowhere")) as stores:
        await check_all(
            stores, CatalogAccessError, VectorStoreAccessError, DatabaseMissingError, "'nowhere'.*not there"
        )


async def test_a_user_without_rights_is_refused_access(dsn: str) -> None:
    async with role("guest") as user, open_stores(postgres_server().dsn(NAME, user=user)) as stores:
        await check_all(stores, CatalogAccessError, VectorStoreAccessError, AccessDeniedError, "rights")


async def test_a_database_that_cannot_be_written_is_refused_access(dsn: str) -> None:
    async with role("reader") as user:
        await execute(f"ALTER ROLE {user} SET default_transaction_read_only = on")
        await execute(f"GRANT ALL ON SCHEMA alexandria TO {user}", database=NAME)
        await execute(f"GRANT ALL ON ALL TABLES IN SCHEMA alexandria TO {user}", database=NAME)
        async with open_stores(postgres_server().dsn(NAME, user=user)) as stores:
            with pytest.raises(CatalogAccessError, match="replica"):
                await stores.catalog.begin(REPO, 1)
            await stores.catalog.check()
        await execute(f"DROP OWNED BY {user}", database=NAME)


async def test_too_many_connections_are_unavailable_until_there_is_room(dsn: str) -> None:
    async with role("crowded", "CONNECTION LIMIT 1") as user:
        address = postgres_server().dsn(NAME, user=user)
        holder = await asyncpg.connect(address)
        async with open_stores(address) as stores:
            await check_all(
                stores, CatalogUnavailableError, VectorStoreUnavailableError, DatabaseBusyError, "no more connections"
            )
            await holder.close()
            with pytest.raises(CatalogAccessError, match="rights"):  # let in, at last
                await stores.catalog.check()


@asynccontextmanager
async def role(name: str, options: str = "") -> AsyncIterator[str]:
    await execute(f"CREATE ROLE {name} LOGIN {options} PASSWORD '{PASSWORD}'")
    try:
        yield name
    finally:
        await execute(f"DROP ROLE {name}")


# the tables are not ours, or not of our version


async def test_a_database_that_was_not_migrated_is_named() -> None:
    async with new_database("bare") as dsn, open_stores(dsn) as stores:
        await check_all(
            stores, CatalogVersionError, VectorStoreMismatchError, NotMigratedError, "run `alexandria migrate`"
        )


async def test_a_newer_version_is_named_also_by_a_program_that_was_left_running(dsn: str) -> None:
    async with open_stores(dsn) as stores:
        await stores.index(1)
        await execute("INSERT INTO alexandria.migrations VALUES ('catalog', 99), ('vectors', 99)", database=NAME)
        try:
            await check_all(
                stores, CatalogVersionError, VectorStoreMismatchError, DatabaseVersionError, "newer alexandria"
            )
        finally:
            await execute("DELETE FROM alexandria.migrations WHERE version = 99", database=NAME)
        assert await stores.visible() == 1


async def test_vectors_of_another_dimension_do_not_fit() -> None:
    async with new_database("narrow") as dsn, open_stores(await migrated(dsn)) as stores:
        await execute("ALTER TABLE alexandria.vectors ALTER embedding TYPE vector(32)", database="narrow")
        with pytest.raises(VectorStoreMismatchError, match="32 dimensions, not 64") as caught:
            await stores.vectors.upload(batch_of("r", {"a.py": vector(1)}))
        assert type(caught.value.__cause__) is DataRefusedError
        assert await stores.vectors.count("r", 1) == 0


async def test_a_vector_that_is_not_finite_is_refused_by_the_engine_too(dsn: str) -> None:
    batch = batch_of("r", {"a.py": vector(1), "b.py": vector(1)})
    batch.embeddings.vectors.setflags(write=True)
    batch.embeddings.vectors[1, 5] = np.nan
    async with open_stores(dsn) as stores:
        with pytest.raises(VectorStoreMismatchError, match="not finite"):
            await stores.vectors.upload(batch)
        assert await stores.vectors.count("r", 1) == 0


async def test_a_path_too_long_for_an_index_is_refused(dsn: str) -> None:
    """An index holds 2,704 bytes a row, packed; ours ask for paths of at most 1,024."""
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=6000))
    async with open_stores(dsn) as stores:
        with pytest.raises(VectorStoreMismatchError, match="too long") as caught:
            await stores.vectors.upload(batch_of("r", {noise: vector(1)}))
        assert type(caught.value.__cause__) is DataRefusedError
        assert await stores.vectors.count("r", 1) == 0
        fitting = {noise[:1024]: vector(1), "ä/" * 1365: vector(1)}
        await stores.vectors.upload(batch_of("r", fitting))
        assert set((await stores.vectors.export("r", 1)).paths) == set(fitting)


# no room


async def test_a_full_disk_is_named_and_leaves_what_was_visible() -> None:
    small, big = graph_of([("a.py", "b.py")]), graph_of([("a.py", f"{i * i}/{i * 7}.py") for i in range(5000)])
    async with new_database("full") as dsn, open_stores(await migrated(dsn)) as stores:
        await stores.catalog.activate(snapshot_of(REPO, small), small)
        await put_on_a_full_device("full")
        with pytest.raises(VectorStoreFullError, match="no room left") as caught:
            await stores.vectors.upload(random_batch(REPO, 5000, generation=2))
        assert type(caught.value.__cause__) is DatabaseFullError
        with pytest.raises(CatalogFullError, match="no room left"):
            await stores.catalog.activate(snapshot_of(REPO, big, generation=2), big)
        assert await stores.catalog.snapshots() == [snapshot_of(REPO, small)]
        assert [file.path for file in await stores.catalog.files(REPO)] == ["a.py", "b.py"]
        assert await stores.vectors.count(REPO, 2) == 0


async def put_on_a_full_device(database: str) -> None:
    """Put the two tables that grow, empty as they are, on /dev/full: it takes no byte, as a disk that is full."""
    rows = await fetch(
        "SELECT pg_relation_filepath(oid) FROM pg_class WHERE oid = 'alexandria.vectors'::regclass "
        "OR oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'alexandria.repositories'::regclass)",
        database=database,
    )
    for (name,) in rows:
        path = postgres_server().directory / "data" / name
        assert path.stat().st_size == 0
        path.unlink()
        path.symlink_to("/dev/full")


@asynccontextmanager
async def new_database(name: str) -> AsyncIterator[str]:
    dsn = await make_database(name)
    try:
        yield dsn
    finally:
        await drop_database(name)


# the address


@pytest.mark.parametrize("mode", ["", "?sslmode=disable", "?sslmode=prefer", "?sslmode=allow"])
def test_an_address_without_tls_is_refused_before_anything_is_sent(mode: str) -> None:
    with pytest.raises(InsecureAddressError, match="sslmode=require") as caught:
        PostgresDatabase(f"postgresql://user:secret@db.example/name{mode}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://db.example/name?sslmode=require",
        "postgres://u:p@db.example:6543/name?sslmode=verify-full",
        "postgresql://u:p@127.0.0.1/name",
        "postgresql://u:p@localhost:5432/name",
        "postgresql://u@/name?host=/run/postgresql",
    ],
)
def test_an_address_with_tls_or_of_this_machine_is_taken(dsn: str) -> None:
    PostgresDatabase(dsn)


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "secret",
        "mysql://u:secret@127.0.0.1/x",
        "postgresql://u:sec/ret@127.0.0.1/x?sslmode=require",
        "postgresql://u:sec?ret@127.0.0.1/x?sslmode=require",
        "postgresql://u:sec#ret@127.0.0.1/x?sslmode=require",
        "postgresql://u:[secret@127.0.0.1/x?sslmode=require",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_a_word_of_it(dsn: str) -> None:
    with pytest.raises(MalformedAddressError) as caught:
        PostgresDatabase(dsn)
    told = "".join(traceback.format_exception(caught.value))
    assert "ret" not in str(caught.value).replace("written", "")
    assert not dsn or dsn not in told


async def test_options_that_the_server_does_not_know_are_refused_without_a_word_of_them() -> None:
    async with open_stores("postgresql://u:secret@127.0.0.1/x?sslmode=nonsense-secret", ONCE) as stores:
        with pytest.raises(CatalogAccessError, match="options in DATABASE_URL") as caught:
            await stores.catalog.check()
    assert "secret" not in str(caught.value)


async def test_what_other_clients_read_from_an_address_does_not_stand_in_the_way(dsn: str) -> None:
    """Neon's addresses carry `channel_binding`; asyncpg would hand it to the server as a setting, which refuses it."""
    async with open_stores(f"{dsn}&channel_binding=prefer&connect_timeout=10&keepalives=1&pgbouncer=true") as stores:
        await stores.catalog.check()


def test_the_password_is_not_in_what_a_database_says_of_itself() -> None:
    database = PostgresDatabase("postgresql://user:secret@127.0.0.1/name")
    assert "secret" not in f"{database!r} {database.place}"
    assert database.place == "the database 'name' at 127.0.0.1"


async def test_a_database_that_is_closed_is_unavailable(dsn: str) -> None:
    async with open_stores(dsn) as stores:
        await stores.catalog.check()
    with pytest.raises(CatalogUnavailableError, match="closed"):
        await stores.catalog.check()
    await stores.database.close()
