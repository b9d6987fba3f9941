"""The worker processes: how they die, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexandria.adapters.tree_sitter.parser import TreeSitterParser
from alexandria.domain.imports import ReadStatus, SourceFacts
from alexandria.ports.source_parser import ParsingCancelledError, SourceParserUnavailableError

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def children_of(pid: int) -> list[int]:
    """Return the live children of a process."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            children.append(int(stat.parent.name))
    return children


def my_children() -> list[int]:
    return children_of(os.getpid())


def wait_until_gone(pids: list[int], timeout_s: float) -> list[int]:
    """Return those that are still alive after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while alive := [pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and not is_zombie(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return alive


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def many(count: int = 900) -> list[tuple[str, bytes]]:
    return [(f"m{i}.py", b"import q\n" * 100) for i in range(count)]


def test_no_process_is_left_after_the_end() -> None:
    before = my_children()
    assert len(list(TreeSitterParser(processes=2).parse(many()))) == 900
    assert my_children() == before


def test_no_process_is_left_after_a_cancel() -> None:
    before = my_children()
    facts = TreeSitterParser(processes=2).parse(many(2000), cancelled=lambda: len(my_children()) > len(before))
    with pytest.raises(ParsingCancelledError):
        list(facts)
    assert my_children() == before


def test_no_process_is_left_when_the_caller_stops_taking() -> None:
    before = my_children()
    facts = TreeSitterParser(processes=2).parse(many())
    next(facts)
    assert len(my_children()) > len(before)
    facts.close()
    assert my_children() == before


def test_no_process_is_left_when_the_files_raise() -> None:
    before = my_children()

    def files() -> Iterator[tuple[str, bytes]]:
        yield from many()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(TreeSitterParser(processes=2).parse(files()))
    assert my_children() == before


def test_workers_that_are_killed_cost_no_file() -> None:
    before = set(my_children())
    kills = 0

    def files() -> Iterator[tuple[str, bytes]]:
        nonlocal kills
        for i, file in enumerate(many(3000)):
            if i % 900 == 899:
                for pid in set(my_children()) - before:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
            yield file

    facts = list(TreeSitterParser(processes=2).parse(files()))
    assert kills >= 3
    assert sorted(f.path for f in facts) == sorted(path for path, _ in many(3000))
    assert {(f.status, len(f.imports)) for f in facts} == {(ReadStatus.READ, 100)}


def test_a_file_that_eats_memory_costs_only_itself() -> None:
    files = [*many(5), ("Hungry.java", b"a<b<" * 200_000), ("last.py", b"import q\n")]
    facts = {f.path: f.status for f in TreeSitterParser(processes=1, worker_bytes=200 << 20).parse(files)}
    assert facts.pop("Hungry.java") is ReadStatus.CRASHED
    assert set(facts.values()) == {ReadStatus.READ}


def test_a_consumer_that_is_slow_makes_no_worker_look_hung() -> None:
    facts: list[SourceFacts] = []
    for one in TreeSitterParser(processes=2, deadline_s=1.5).parse(many(2000)):
        if len(facts) == 500:
            time.sleep(2)  # longer than the deadline, while the workers fill their pipes and wait
        facts.append(one)
    assert {f.status for f in facts} == {ReadStatus.READ}
    assert len(facts) == 2000


def test_no_processes_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="0 processes"):
        TreeSitterParser(processes=0)


def test_no_process_can_be_started_where_there_is_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SourceParserUnavailableError):
        list(TreeSitterParser(processes=2).parse(many()))


def test_workers_that_never_come_up_are_an_error_and_not_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nowhere"])  # they find neither us nor the grammars
    with pytest.raises(SourceParserUnavailableError, match="before it was up"):
        list(TreeSitterParser(processes=2).parse(many(10)))


def run_script(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(body))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True
    )


def test_a_script_without_a_main_guard_may_parse_in_a_thread(tmp_path: Path) -> None:
    script = run_script(
        tmp_path,
        """
        import threading
        from alexandria.adapters.tree_sitter.parser import TreeSitterParser
        print("script runs")
        def parse():
            files = [(f"m{i}.py", b"import q") for i in range(900)]
            print(len(list(TreeSitterParser(processes=2).parse(files))))
        thread = threading.Thread(target=parse)
        thread.start()
        thread.join()
        """,
    )
    out, _ = script.communicate(timeout=60)
    assert out.split("\n") == ["script runs", "900", ""]
    assert script.returncode == 0


ENDLESS_SCRIPT = """
    import sys
    from alexandria.adapters.tree_sitter.parser import TreeSitterParser
    said = []
    def say():
        if len(said) == 5:
            print("parsing", flush=True)
        said.append(1)
        return False
    files = [("endless.py", b"import os" + bytes([10]) + b"(" * 900_000)]
    list(TreeSitterParser(processes=2, deadline_s={deadline_s}).parse(files, cancelled=say))
    """


def test_workers_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = run_script(tmp_path, ENDLESS_SCRIPT.format(deadline_s=1.0))
    assert script.stdout is not None
    assert script.stdout.readline() == "parsing\n"
    workers = children_of(script.pid)
    assert workers
    script.kill()
    script.communicate(timeout=60)
    assert wait_until_gone(workers, timeout_s=20) == []


def test_ctrl_c_ends_the_script_and_its_workers(tmp_path: Path) -> None:
    script = run_script(tmp_path, ENDLESS_SCRIPT.format(deadline_s=30.0))
    assert script.stdout is not None
    assert script.stdout.readline() == "parsing\n"
    workers = children_of(script.pid)
    assert workers
    os.killpg(script.pid, signal.SIGINT)  # as a terminal does it: to the whole foreground group
    script.communicate(timeout=60)
    assert script.returncode == -signal.SIGINT
    assert wait_until_gone(workers, timeout_s=5) == []


READ_ONE_FILE = """
import sys; sys.path[:] = sys.argv[1:]
from alexandria.adapters.tree_sitter.reading import read_source
from alexandria.adapters.tree_sitter.worker import load_resources_late
from alexandria.domain.language import Language
load_resources_late()
read_source("a.py", Language.PYTHON, b"import a")
print(*sorted(sys.modules))
from importlib.resources import files
print((files("alexandria") / "__init__.py").is_file())
"""


def test_a_worker_loads_little_and_the_rest_when_it_is_asked_for() -> None:
    paths = [path for path in sys.path if path]
    command = [sys.executable, "-I", "-S", "-c", READ_ONE_FILE, *paths]
    loaded, found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    # Each of them takes longer than reading a file, and every worker of every run would wait for it.
    slow = {"dataclasses", "inspect", "tempfile", "pathlib", "asyncio", "logging", "subprocess", "numpy"}
    assert slow.isdisjoint(loaded.split())
    assert "alexandria.domain.imports.python" not in loaded.split()  # the rules stay with the parent
    assert found == "True"
