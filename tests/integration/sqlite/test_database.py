from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from alexandria.adapters.sqlite.database import (
    APPLICATION_ID,
    Database,
    DatabaseAccessError,
    DatabaseBusyError,
    DatabaseError,
    DatabaseFullError,
    DatabaseVersionError,
    NotADatabaseError,
)
from alexandria.adapters.sqlite.schema import MIGRATIONS

COUNTERS = ("CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",)
BLOBS = ("CREATE TABLE blobs (content BLOB)", "INSERT INTO counters VALUES ('migrated', 1)")
SCHEMA = (COUNTERS, BLOBS)
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "alexandria.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database.open(path, migrations=SCHEMA, busy_timeout_s=0.05) as opened:
        yield opened


def increment(connection: sqlite3.Connection) -> None:
    value = connection.execute("SELECT value FROM counters WHERE name = 'migrated'").fetchone()[0]
    connection.execute("UPDATE counters SET value = ? WHERE name = 'migrated'", (value + 1,))


def value_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT value FROM counters WHERE name = 'migrated'").fetchone()[0])


def add_megabyte(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO blobs VALUES (zeroblob(1000000))")


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


# opening


def test_open_makes_the_directories_and_the_newest_schema(path: Path) -> None:
    with Database.open(path):
        assert version_of(path) == len(MIGRATIONS)


def test_open_again_finds_what_was_there(path: Path) -> None:
    for _ in range(2):
        with Database.open(path, migrations=SCHEMA) as database:
            asyncio.run(database.write(increment))
    with closing(sqlite3.connect(path)) as connection:
        assert value_of(connection) == 3


def test_closing_leaves_one_file(path: Path) -> None:
    with Database.open(path, migrations=SCHEMA) as database:
        asyncio.run(database.write(increment))
    assert [p.name for p in path.parent.iterdir()] == ["alexandria.db"]


def test_an_older_file_is_brought_up_to_date_without_loss(path: Path) -> None:
    with Database.open(path, migrations=SCHEMA[:1]) as database:
        asyncio.run(database.write(lambda c: c.execute("INSERT INTO counters VALUES ('mine', 5)")))
    assert version_of(path) == 1
    with Database.open(path, migrations=SCHEMA) as database:
        rows = asyncio.run(database.read(lambda c: c.execute("SELECT * FROM counters ORDER BY name").fetchall()))
    assert rows == [("migrated", 1), ("mine", 5)]
    assert version_of(path) == 2


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    with Database.open(path, migrations=SCHEMA[:1]):
        pass
    broken = (*SCHEMA[:1], ("CREATE TABLE more (x)", "CREATE TABLE more (x)"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Database.open(path, migrations=broken)
    assert version_of(path) == 1
    with Database.open(path, migrations=SCHEMA) as database:
        assert asyncio.run(database.read(value_of)) == 1


def test_a_newer_file_is_refused_and_says_what_to_do(path: Path) -> None:
    with Database.open(path, migrations=SCHEMA):
        pass
    with pytest.raises(DatabaseVersionError, match=r"schema 2 and this program knows 1.*Upgrade"):
        Database.open(path, migrations=SCHEMA[:1])


async def test_a_file_that_a_newer_program_upgrades_meanwhile_is_refused(database: Database, path: Path) -> None:
    with Database.open(path, migrations=(*SCHEMA, ("CREATE TABLE more (x)",))):
        for call in (database.read(value_of), database.write(increment)):
            with pytest.raises(DatabaseVersionError, match="newer"):
                await call


def test_programs_that_open_a_new_file_at_once_make_one_schema(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from alexandria.adapters.sqlite.database import Database\n"
        "sys.stdin.read(1)\n"
        "Database.open(Path(sys.argv[1])).close()"
    )
    command = [sys.executable, "-c", script, str(path)]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("x")  # all wait for it, so all go on at about the same moment
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=60)
    assert [child.returncode for child in children] == [0] * 4
    assert version_of(path) == len(MIGRATIONS)


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 100, b"short", b"\0" * 5000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(NotADatabaseError, match=r"no database|another program"):
        Database.open(path)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    content = path.read_bytes()
    with pytest.raises(NotADatabaseError, match="another program"):
        Database.open(path)
    assert path.read_bytes() == content


def test_our_file_says_whose_it_is(database: Database, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with Database.open(path):
        assert version_of(path) == len(MIGRATIONS)


def test_a_damaged_file_says_so(path: Path) -> None:
    with Database.open(path, migrations=SCHEMA) as database:
        for _ in range(3):
            asyncio.run(database.write(add_megabyte))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096 * 8)
    with Database.open(path, migrations=SCHEMA) as database, pytest.raises(NotADatabaseError, match="damaged"):
        asyncio.run(database.read(value_of))


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseAccessError, match=r"file/data cannot be made: Not a directory"):
        Database.open(tmp_path / "file" / "data" / "alexandria.db")


def test_a_directory_in_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(DatabaseAccessError, match="cannot be opened"):
        Database.open(path)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Run as somebody whom permissions bind: they do not bind root."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_that_may_not_be_written_is_named() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        with unprivileged(), pytest.raises(DatabaseAccessError, match="check the permissions of its directory"):
            Database.open(Path(directory) / "alexandria.db")
        with unprivileged(), pytest.raises(DatabaseAccessError, match="cannot be made: Permission denied"):
            Database.open(Path(directory) / "more" / "alexandria.db")
        Path(directory).chmod(0o755)


def test_a_file_that_may_not_be_written_is_named() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "alexandria.db"
        with Database.open(path, migrations=SCHEMA):
            pass
        path.chmod(0o444)
        Path(directory).chmod(0o555)
        with unprivileged(), pytest.raises(DatabaseAccessError, match="check the permissions"):
            Database.open(path, migrations=SCHEMA)
        Path(directory).chmod(0o755)


# transactions


async def test_writes_of_many_tasks_are_serialised(database: Database) -> None:
    await asyncio.gather(*(database.write(increment) for _ in range(50)))
    assert await database.read(value_of) == 51


async def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        increment(connection)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.write(fail)
    assert await database.read(value_of) == 1
    await database.write(increment)
    assert await database.read(value_of) == 2


async def test_a_read_sees_one_moment(database: Database) -> None:
    began, written = threading.Event(), threading.Event()

    def look_twice(connection: sqlite3.Connection) -> tuple[int, int]:
        first = value_of(connection)
        began.set()
        assert written.wait(30)
        return first, value_of(connection)

    looking = asyncio.create_task(database.read(look_twice))
    await asyncio.to_thread(began.wait, 30)
    await database.write(increment)
    written.set()
    assert await looking == (1, 1)
    assert await database.read(value_of) == 2


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseError):
        await database.read(increment)
    assert await database.read(value_of) == 1


async def test_the_event_loop_goes_on_while_the_file_is_written(database: Database) -> None:
    go_on = threading.Event()
    writing = asyncio.create_task(database.write(lambda connection: go_on.wait(30)))
    await asyncio.sleep(0)
    go_on.set()  # reached only because the write does not hold the loop
    assert await writing


async def test_a_write_whose_caller_was_cancelled_is_whole_or_not_there(database: Database) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        increment(connection)
        began.set()
        assert go_on.wait(30)
        increment(connection)

    writing = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(began.wait, 30)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    go_on.set()
    await database.write(increment)  # waits in line behind the one that goes on
    assert await database.read(value_of) == 4


def test_one_database_serves_several_event_loops(database: Database) -> None:
    for _ in range(3):
        asyncio.run(database.write(increment))
    assert asyncio.run(database.read(value_of)) == 4


async def test_writers_of_several_processes_wait_for_one_another(path: Path) -> None:
    with Database.open(path, migrations=SCHEMA) as one, Database.open(path, migrations=SCHEMA) as other:
        await asyncio.gather(*(store.write(increment) for _ in range(30) for store in (one, other)))
        assert await one.read(value_of) == await other.read(value_of) == 61


async def test_a_lock_that_is_held_too_long_is_an_error_of_its_own(database: Database, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusyError, match="held by another process"):
            await database.write(increment)
        assert await database.read(value_of) == 1  # readers wait for nobody
        other.execute("ROLLBACK")
    await database.write(increment)
    assert await database.read(value_of) == 2


async def test_a_full_disk_is_an_error_of_its_own_and_leaves_nothing(database: Database) -> None:
    # SQLite answers a page limit as it answers a full disk.
    await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 300"))
    await database.write(add_megabyte)

    def add_more(connection: sqlite3.Connection) -> None:
        increment(connection)
        add_megabyte(connection)

    with pytest.raises(DatabaseFullError, match="no room left"):
        await database.write(add_more)
    assert await database.read(value_of) == 1
    await database.write(increment)
    assert await database.read(value_of) == 2


def test_a_quota_is_an_error_of_its_own_and_leaves_nothing(path: Path) -> None:
    script = (
        "import asyncio, resource, sys; from pathlib import Path\n"
        "from alexandria.adapters.sqlite.database import Database, DatabaseFullError\n"
        "with Database.open(Path(sys.argv[1])) as database:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "    def work(c): c.execute('CREATE TABLE big AS SELECT zeroblob(1000000) AS content')\n"
        "    try: asyncio.run(database.write(work))\n"
        "    except DatabaseFullError as error: print('full:', error)\n"
        "    print(asyncio.run(database.read(lambda c: c.execute('PRAGMA integrity_check').fetchone()[0])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "cannot grow" in done.stdout
    assert done.stdout.endswith("ok\n")
    with Database.open(path) as database:
        tables = asyncio.run(database.read(lambda c: [row[0] for row in c.execute("SELECT name FROM sqlite_schema")]))
    assert "big" not in tables


async def test_what_is_closed_says_so(path: Path) -> None:
    database = Database.open(path, migrations=SCHEMA)
    database.close()
    database.close()
    with pytest.raises(DatabaseAccessError, match="is closed"):
        await database.read(value_of)
    with pytest.raises(DatabaseAccessError, match="is closed"):
        await database.write(increment)


async def test_faults_of_a_statement_are_not_dressed_up(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.read(lambda connection: connection.execute("SELECT * FROM nowhere"))
    with pytest.raises(sqlite3.IntegrityError):
        await database.write(lambda connection: connection.execute("INSERT INTO counters VALUES ('migrated', 2)"))
