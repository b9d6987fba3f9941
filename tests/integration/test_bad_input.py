"""Whatever is put in: a clear answer, and an old index that is still whole."""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alexandria.adapters.sqlite.catalog import SqliteCatalog
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.vector_store import SqliteVectorStore
from alexandria.application.index import IndexProgress, NoSourceFilesError
from alexandria.domain.job import Phase
from alexandria.domain.snapshot import Snapshot
from alexandria.ports.repo_source import EmptyRepositoryError, RepoNotFoundError
from support.command import PROGRAM, Command, environment
from support.memory_library import MemoryWorld
from support.trees import SHOP, commit_all, git, write_tree


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[MemoryWorld]:
    """Open a world whose catalog and vectors are in the file that users have."""
    with Database.open(path / "alexandria.sqlite3") as database:
        yield MemoryWorld(catalog=SqliteCatalog(database), vectors=SqliteVectorStore(database))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MemoryWorld]:
    async with opened(tmp_path / "data") as world:
        yield world


async def assert_whole(world: MemoryWorld, snapshot: Snapshot) -> None:
    """Assert that `snapshot` is what is searched, with every file and vector."""
    assert await world.library.repo(snapshot.repo) == snapshot
    assert len((await world.library.export(snapshot.repo)).vectors.paths) == snapshot.files
    assert len((await world.library.similar(snapshot.repo, "shop/cart.py", k=100)).hits) == snapshot.linked - 1


STRANGE = {
    "not UTF-8": b"import shop\n# \xff\xfe caf\xe9\nfrom shop import cart\n",
    "NUL bytes": b"import shop\x00\x00\nfrom shop import cart\n",
    "only NUL bytes": b"\x00" * 5000,
    "ten thousand nested brackets": b"x = " + b"[" * 10_000 + b"]" * 10_000 + b"\n",
    "ten thousand open brackets": b"from shop import cart\nx = " + b"(" * 10_000,
    "merge markers": b"<<<<<<< HEAD\nimport shop\n=======\nfrom shop import cart\n>>>>>>> other\n",
    "empty": b"",
    "one byte": b"\x80",
}


@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE.keys())
async def test_a_strange_file_is_a_node_and_stops_nothing(world: MemoryWorld, tmp_path: Path, content: bytes) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)
    before = await world.library.index(shop)
    write_tree(shop, {"shop/strange.py": content})
    after = await world.library.index(shop)
    assert after.files == before.files + 1
    await assert_whole(world, after)


async def test_a_one_liner_of_50_mb_is_a_node_whose_imports_are_not_read(world: MemoryWorld, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)
    with (shop / "bundle.js").open("wb") as file:
        file.writelines(b"require('./other');" * 55_000 for _ in range(50))
    result = await world.library.index_with_details(shop)
    assert result.snapshot.files == 9
    assert result.code.not_read == {"bundle.js": "too_large"}
    await assert_whole(world, result.snapshot)


async def test_a_symlink_that_leaves_the_tree_is_left_out_and_counted(world: MemoryWorld, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)
    write_tree(tmp_path, {"secret.py": "import shop.cart\n"})
    (shop / "link.py").symlink_to(tmp_path / "secret.py")
    (shop / "folder").symlink_to(tmp_path)
    (shop / "dangling.py").symlink_to(tmp_path / "gone.py")
    result = await world.library.index_with_details(shop)
    assert result.snapshot.files == 8
    assert result.code.skipped["symlink"] == 3


async def test_a_file_that_cannot_be_read_is_a_node_and_is_counted(world: MemoryWorld, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)

    def vanish(step: IndexProgress) -> None:  # between the listing and the reading; permissions do not bind root
        if step.phase is Phase.CLONING and step.fraction == 1.0:
            (shop / "shop/web.py").unlink(missing_ok=True)

    result = await world.library.index_with_details(shop, progress=vanish)
    assert result.code.not_read == {"shop/web.py": "unreadable"}
    assert result.snapshot.files == 8
    assert result.snapshot.files_failed == 1
    await assert_whole(world, result.snapshot)


async def test_bad_sources_leave_the_old_index_as_it_was(world: MemoryWorld, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)
    before = await world.library.index(shop)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    git(tmp_path / "bare", "init", "-q", "--bare")
    prose = write_tree(tmp_path / "prose", {"README.md": "nothing to parse"})
    for source, error in (
        (tmp_path / "gone", RepoNotFoundError),
        (tmp_path / "empty", EmptyRepositoryError),
        (tmp_path / "bare", EmptyRepositoryError),
        (prose, NoSourceFilesError),
    ):
        with pytest.raises(error):
            await world.library.index(source)
    await assert_whole(world, before)


async def test_a_repository_whose_files_all_vanished_keeps_its_old_index(world: MemoryWorld, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)
    before = await world.library.index(shop)
    for path in list(shop.rglob("*.py")):
        path.unlink()
    with pytest.raises(NoSourceFilesError):
        await world.library.index(shop)
    await assert_whole(world, before)


async def test_a_work_tree_without_a_commit_is_read_as_it_lies(world: MemoryWorld, tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)
    git(shop, "init", "-q")
    snapshot = await world.library.index(shop)
    assert snapshot.commit == ""
    assert snapshot.files == 8


async def test_cancelling_at_any_step_leaves_the_old_index_or_the_new_one_whole(
    world: MemoryWorld, tmp_path: Path
) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)
    before = await world.library.index(shop)
    write_tree(shop, {"shop/more.py": "from shop import cart\n"})
    steps: list[IndexProgress] = []
    await asyncio.wait_for(world.library.read_graph(shop, progress=steps.append), 60)
    stopped = 0
    for at in range(len(steps) + 20):
        finished = await _cancelled_at_step(world, shop, at)
        current = await world.library.repo(before.repo)
        await assert_whole(world, current)
        assert current.files == (before.files if finished is None else before.files + 1)
        if finished is not None:
            break
        stopped += 1
    else:
        pytest.fail("the run never came to its end")
    assert stopped > len(steps)


async def _cancelled_at_step(world: MemoryWorld, source: Path, at: int) -> Snapshot | None:
    """Index `source`, cancelled at its progress step number `at`; return the snapshot if it ended before."""
    loop, seen = asyncio.get_running_loop(), 0

    def listen(_: IndexProgress) -> None:
        nonlocal seen
        if seen == at:
            # From a computing thread or from the loop itself; in both cases before the next step is taken.
            loop.call_soon_threadsafe(running.cancel)
        seen += 1

    running = asyncio.create_task(world.library.index(source, progress=listen))
    try:
        return await running
    except asyncio.CancelledError:
        # It may have come too late: the new index was activated already, whole.
        current = await world.library.repo()
        return current if current.files == len(SHOP) else None


def _interrupt_when(data: Path, source: Path, phase: str, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Index `source` and send a signal when the command says that `phase` begins."""
    with subprocess.Popen(
        [*PROGRAM, "index", str(source)],
        env=environment(data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith(phase):
                process.send_signal(number)
        out = process.stdout.read() if process.stdout is not None else ""
        code = process.wait(60)
    return subprocess.CompletedProcess(process.args, code, out, "".join(said))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository that takes seconds in every phase that computes."""
    files = {
        f"pkg/m{i}.py": "".join(f"from pkg import m{(i * 7 + k * k) % 2500}\n" for k in range(12))
        + "x = [1, 2]\n" * 400
        for i in range(2500)
    }
    root = write_tree(tmp_path_factory.mktemp("large"), {"pkg/__init__.py": "", **files})
    commit_all(root)
    return root


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory with one index in it, to copy: learning takes PyTorch seconds to load."""
    root = tmp_path_factory.mktemp("stored")
    done = Command(root / "data", {})("index", str(write_tree(root / "shop", SHOP)), "--method", "prone")
    assert done.code == 0, done.err
    return root / "data"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("phase", ["cloning", "parsing", "training"])
def test_ctrl_c_in_each_phase_ends_with_130_and_leaves_nothing_behind(
    tmp_path: Path, large: Path, stored: Path, phase: str
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    run = Command(Path(shutil.copytree(stored, tmp_path / "data")), {"TMPDIR": str(scratch)})
    before = run("repos", "--json").json
    done = _interrupt_when(tmp_path / "data", large, phase, signal.SIGINT)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "interrupted" in done.stderr
    after = run("repos", "--json").json
    for shape in (before, after):
        shape["repositories"][0].pop("age_seconds")
    assert after == before
    assert [path.name for path in scratch.iterdir() if path.name.startswith("alexandria")] == []


def test_two_index_runs_at_once_on_one_data_directory_end_with_one_whole_index(tmp_path: Path) -> None:
    shop = write_tree(tmp_path / "shop", SHOP)
    data = tmp_path / "data"
    running = [
        subprocess.Popen(
            [*PROGRAM, "index", str(shop), "--json"],
            env=environment(data),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [(process, *process.communicate(timeout=120)) for process in running]
    codes = [process.returncode for process, _, _ in ended]
    assert 0 in codes
    for process, _, err in ended:
        assert process.returncode == 0 or "a newer run took over" in err
    run = Command(data, {})
    [repository] = run("repos", "--json").json["repositories"]
    assert repository["files"] == 8
    assert len(run("similar", "shop/cart.py", "-k", "100", "--json").json["similar"]) == repository["linked"] - 1


def _limit_file_size(limit: int) -> Callable[[], None]:
    def apply() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return apply


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
def test_a_full_disk_is_said_and_the_old_index_is_whole(tmp_path: Path, large: Path, stored: Path) -> None:
    data = Path(shutil.copytree(stored, tmp_path / "data"))
    run = Command(data, {})
    before = run("similar", "shop/cart.py", "--repo", "shop", "--json").json["similar"]
    size = max(file.stat().st_size for file in data.iterdir())
    done = subprocess.run(
        [*PROGRAM, "index", str(large), "--method", "prone"],
        env=environment(data),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        preexec_fn=_limit_file_size(size + 40_000),  # the child of a test that has no threads
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert "full" in done.stderr or "written" in done.stderr or "room" in done.stderr
    assert len(run("repos", "--json").json["repositories"]) == 1
    assert run("similar", "shop/cart.py", "--repo", "shop", "--json").json["similar"] == before


@pytest.mark.parametrize(
    "content", [b"this is no database, and longer than its header of 100 bytes" * 4, b"\x00" * 4096]
)
def test_a_data_directory_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    data = write_tree(tmp_path / "data", {"alexandria.sqlite3": content})
    done = Command(data, {})("repos")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "error: " in done.err
    assert (data / "alexandria.sqlite3").read_bytes() == content
