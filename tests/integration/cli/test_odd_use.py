"""What people and scripts do at three in the morning: closed pipes, full disks, odd spellings, signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alexandria.domain.errors import InvalidRefError, InvalidRepoUrlError
from alexandria.entrypoints.library import MAX_SEED
from support.command import PROGRAM, Command, environment
from support.memory_library import MemoryWorld
from support.trees import SHOP, commit_all, write_tree

needs_unix = pytest.mark.skipif(sys.platform == "win32", reason="shells, devices and signals of Unix")


@pytest.fixture
def run(tmp_path: Path) -> Command:
    return Command(tmp_path / "data", {})


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = write_tree(tmp_path / "shop", SHOP)
    commit_all(root)
    return root


def in_shell(script: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `alexandria` is our command."""
    function = f'alexandria() {{ "{PROGRAM[0]}" -m {PROGRAM[2]} "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", function + script],
        env=environment(data),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_unix
@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("alexandria repos --json >/dev/full", 1, "the output cannot be written: No space left on device"),
        ("alexandria doctor >/dev/full", 1, "the output cannot be written"),
        ("alexandria repos >&-", 1, "stdout is closed"),
        ("alexandria repos --json | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("alexandria doctor | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("alexandria index ''", 1, "it is empty"),
        ("alexandria submit /tmp", 1, "a folder cannot be queued"),
        ("alexandria index . --seed 18446744073709551616", 2, "--seed"),
    ],
)
def test_odd_use_ends_with_one_sentence_and_the_right_code(tmp_path: Path, script: str, code: int, said: str) -> None:
    done = in_shell(script, tmp_path / "data")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["repos"], ["index", "SHOP"], ["repos", "--no-such-option"], ["api", "--port", "x"]]
)
def test_python_does_not_search_what_was_loaded_for_cycles_before_it_ends(
    tmp_path: Path, shop: Path, arguments: list[str]
) -> None:
    program = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print('left to search:', len(gc.get_objects()), file=sys.stderr))\n"
        "from alexandria.entrypoints.start import main\n"
        "main()\n"
    )
    words = [argument.replace("SHOP", str(shop)) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environment(tmp_path / "data"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    left = done.stderr.splitlines()[-1]
    assert left.startswith("left to search: ")
    assert int(left.split()[-1]) < 20_000  # PyTorch alone is ten times as many


@pytest.mark.parametrize(
    ("arguments", "code"), [(["SHOP"], 0), (["SHOP/nothing"], 1), (["SHOP", "--no-such-option"], 2)]
)
def test_index_leaves_pytorch_to_a_process_that_ends_with_it(
    tmp_path: Path, shop: Path, arguments: list[str], code: int
) -> None:
    program = (
        "import atexit, psutil, sys\n"
        "started = []\n"
        "def tell():\n"
        "    left = [one for one in started if psutil.pid_exists(one.pid)]\n"
        "    print('started, left, PyTorch here:', len(started), len(left), 'torch' in sys.modules, file=sys.stderr)\n"
        "atexit.register(tell)\n"
        "from alexandria.adapters.pyg import spawn\n"
        "from alexandria.entrypoints.start import main\n"
        "begin = spawn.start\n"
        "spawn.start = lambda: started.append(begin()) or started[-1]\n"
        "main()\n"
    )
    words = [argument.replace("SHOP", str(shop)) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-c", program, "index", *words],
        env=environment(tmp_path / "data"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1] == "started, left, PyTorch here: 1 0 False"


def test_wrong_settings_are_said_one_a_line(tmp_path: Path) -> None:
    done = Command(tmp_path / "data", {"MODE": "foo", "QUEUE_CAP": "-1"})("repos")
    assert done.code == 1
    assert [line.split(":")[0].strip() for line in done.err.splitlines()] == ["error", "MODE", "QUEUE_CAP"]


@pytest.mark.parametrize(
    "spelling", ["shop/orders.py:2", "./shop/orders.py:2:7", "shop/../shop/orders.py:2:", "ABSOLUTE:2"]
)
def test_explain_takes_the_spellings_of_editors_and_compilers(run: Command, shop: Path, spelling: str) -> None:
    spelled = spelling.replace("ABSOLUTE", str(shop / "shop/orders.py"))
    shape = run("graph", str(shop), "--explain", spelled, "--json").json
    assert shape["path"] == "shop/orders.py"
    assert [outcome["specifier"] for outcome in shape["imports"]] == ["shop.gone"]


def test_explain_of_a_line_without_an_import_says_where_there_are_some(run: Command, shop: Path) -> None:
    done = run("graph", str(shop), "--explain", "shop/orders.py:77")
    assert (done.code, done.out) == (0, "")
    assert "no import at line 77; it has some at 1, 2" in done.err
    assert "shop/__init__.py has no import" in run("graph", str(shop), "--explain", "shop/__init__.py").err


def test_tables_in_a_pipe_are_neither_cut_nor_padded(run: Command, tmp_path: Path) -> None:
    deep = "/".join(["a_folder_with_a_long_name"] * 8)
    tree = write_tree(
        tmp_path / "deep", {f"{deep}/__init__.py": "", f"{deep}/m.py": "from . import n\n", f"{deep}/n.py": ""}
    )
    done = run("graph", str(tree), "--explain", f"{deep}/m.py")
    assert f"{deep}/n.py" in done.out
    assert all(line == line.rstrip() for line in done.out.splitlines())


def test_a_folder_inside_a_repository_is_said_to_be_a_part(run: Command, shop: Path) -> None:
    assert f"a part of {shop.resolve()}" in run("graph", str(shop / "shop")).err
    assert "a part of" not in run("graph", str(shop)).err


@needs_unix
def test_sigterm_ends_an_index_with_143_and_leaves_no_clone(tmp_path: Path, shop: Path) -> None:
    mirror, scratch = tmp_path / "mirror/github.com/test", tmp_path / "tmp"
    mirror.mkdir(parents=True)
    scratch.mkdir()
    (mirror / "shop").symlink_to(shop)
    names = environment(tmp_path / "data", TMPDIR=str(scratch), REPO_MIRROR=str(tmp_path / "mirror"))
    with subprocess.Popen(
        [*PROGRAM, "index", "github.com/test/shop"],
        env=names,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("parsing"):
                process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143, said
    assert not [path for path in scratch.iterdir() if path.name.startswith("alexandria")]
    assert "Traceback" not in "".join(said)


async def test_the_library_refuses_what_it_would_take_amiss(tmp_path: Path) -> None:
    library = MemoryWorld().library
    tree = write_tree(tmp_path / "shop", SHOP)
    for seed in (-1, MAX_SEED + 1):
        with pytest.raises(ValueError, match="seed"):
            await library.index(tree, seed=seed)
    with pytest.raises(ValueError, match="method"):
        await library.index(tree, method="foo")
    with pytest.raises(TypeError, match="a list is needed"):
        await library.index(tree, include="*.py")
    with pytest.raises(InvalidRefError):
        await library.index(tree, ref="HEAD~1")
    for text in ("", "  ", "a\0b"):
        with pytest.raises(InvalidRepoUrlError):
            await library.index(text)
    assert await library.repos() == []
    await library.index(tree)
    with pytest.raises(TypeError, match="a list is needed"):
        await library.similar("shop", "shop/cart.py", languages="python")  # type: ignore[arg-type]  # the mistake
