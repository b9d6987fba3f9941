"""Every command as a user types it: tables, JSON, exit codes, and what is said when it fails."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from alexandria.adapters.memory.clock import ManualClock
from alexandria.adapters.sqlite.database import Database
from alexandria.adapters.sqlite.job_queue import SqliteJobQueue
from alexandria.domain.job import Phase
from alexandria.entrypoints.vector_stores import DATABASE_NAME
from alexandria.ports.job_queue import QueueRules
from support.command import PROGRAM, Command, environment
from support.trees import SHOP, commit_all, write_tree


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shop(home: Path) -> Path:
    root = write_tree(home / "code/shop", SHOP)
    commit_all(root)
    return root


@pytest.fixture(scope="module")
def run(home: Path, shop: Path) -> Command:
    mirror = home / "mirror/github.com/test"
    mirror.mkdir(parents=True)
    (mirror / "shop").symlink_to(shop)
    return Command(home / "data", {"REPO_MIRROR": str(home / "mirror")})


@pytest.fixture(scope="module")
def indexed(run: Command, shop: Path) -> Command:
    done = run("index", str(shop), "--json")
    assert done.code == 0, done.err
    shape = done.json
    assert shape["repository"]["repo"] == shop.resolve().as_posix()
    assert shape["repository"]["files"] == 8
    assert shape["repository"]["imports"]["unresolved"] == 1
    assert shape["languages"] == {"python": 8}
    assert shape["most_imported"][0] == {"path": "shop/cart.py", "importers": 3}
    assert set(shape["seconds"]) == {"cloning", "parsing", "training", "uploading"}
    assert [line for line in done.err.splitlines() if line.endswith(" …")] == [
        "cloning …",
        "parsing …",
        "training …",
        "uploading …",
    ]
    return run


@pytest.fixture
def empty(tmp_path: Path) -> Command:
    return Command(tmp_path / "data", {})


def test_quiet_leaves_out_the_progress_and_nothing_else(empty: Command, shop: Path) -> None:
    done = empty("index", str(shop), "--quiet")
    assert (done.code, done.err) == (0, "")
    assert "files       8 source files" in done.out
    assert empty("graph", str(shop), "-q").err == ""
    missing = empty("index", str(shop / "nowhere"), "-q")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err.startswith("error: ")


def test_a_glob_that_matches_nothing_is_said(empty: Command, shop: Path) -> None:
    done = empty("graph", str(shop), "-q", "--exclude", "nowhere/**", "--exclude", "shop/cart.py")
    assert (done.code, done.err.strip()) == (0, "warning: the glob 'nowhere/**' matches no file")
    assert "shop/cart.py" not in done.json["files"]


def test_version_and_help_answer_without_a_store(empty: Command) -> None:
    assert empty("--version").out.startswith("alexandria ")
    assert "similar" in empty("--help").out
    assert "Example:" in empty("index", "--help").out
    assert not empty.data.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["index", "--nonsense"],
        ["similar"],
        ["similar", "a.py", "-k", "0"],
        ["similar", "a.py", "--language", "cobol"],
        ["neighbors", "a.py", "--depth", "6"],
        ["neighbors", "a.py", "--direction", "up"],
        ["graph", "--format", "png"],
        ["export", "x", "-o", "x.txt"],
        ["index", "--seed", "-1"],
        ["index", "--training", "epoch=20"],
        ["index", "--training", "walk_length=3"],
    ],
)
def test_wrong_use_exits_with_2_and_says_how_it_is_used(empty: Command, arguments: list[str]) -> None:
    done = empty(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert "Usage:" in done.err


@pytest.mark.parametrize("arguments", [["similar", "a.py"], ["neighbors", "a.py"], ["export", "x", "-o", "x.npz"]])
def test_asking_an_empty_store_fails_with_what_to_do(empty: Command, arguments: list[str]) -> None:
    done = empty(*arguments)
    assert done.code == 1
    assert "alexandria index SOURCE" in done.err


def test_a_command_loads_no_web_server_and_nothing_to_train_with(empty: Command) -> None:
    done = Command(empty.data, {"PYTHONPROFILEIMPORTTIME": "1"})("repos")
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines() if line.startswith("import time:")}
    assert {"alexandria.entrypoints.cli", "dependency_injector.wiring"} <= loaded
    unasked = {"fastapi", "pydantic.v1", "starlette", "torch", "tree_sitter", "uvicorn", "werkzeug", "yaml"}
    assert loaded & unasked == set()


def test_the_collector_looks_through_nothing_that_was_loaded(empty: Command, shop: Path) -> None:
    # PyTorch alone brings a million values; this folder has three files. It trains in this process, as a worker
    # does, where another one cannot be started.
    program = """
import gc, sys
from alexandria.adapters.pyg import spawn
from alexandria.entrypoints import start

looked_through = []

def no_more_processes():
    raise BlockingIOError("Resource temporarily unavailable")

spawn.start = no_more_processes

def watch(phase, info):
    if phase == "start":
        looked_through.append(len(gc.get_objects(generation=info["generation"])))

gc.callbacks.append(watch)
try:
    start.main()
finally:
    gc.callbacks.remove(watch)
    print(max(looked_through), "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "index", str(shop), "--quiet"],
        env=environment(empty.data),
        capture_output=True,
        text=True,
        check=False,
    )
    most, has_torch = done.stdout.split()[-2:]
    assert has_torch == "True", done.stderr
    assert 0 < int(most) < 100_000


def test_repos_of_an_empty_store_are_none(empty: Command) -> None:
    done = empty("repos")
    assert (done.code, done.out) == (0, "")
    assert "nothing is indexed yet" in done.err
    assert empty("repos", "--json").json == {"repositories": []}


def test_index_says_what_it_found(run: Command, shop: Path) -> None:
    done = run("index", "https://github.com/test/shop")
    assert done.code == 0, done.err
    for part in ("https://github.com/test/shop @ ", "8 source files (8 python)", "1 unresolved", "8 × 64 by node2vec"):
        assert part in done.out
    assert "'shop.gone' in shop/orders.py:2" in done.out
    assert "next: alexandria similar shop/cart.py --repo github.com/test/shop" in done.out
    assert run("remove", "github.com/test/shop").code == 0


def test_the_training_can_be_changed_by_option_and_by_variable(empty: Command, shop: Path) -> None:
    shape = empty("index", str(shop), "-q", "--json", "--training", "epochs=12,seeds=2").json
    assert len(shape["loss"]) == 12
    assert shape["notes"] == ["changed of the training: epochs=12,seeds=2"]
    of_variable = Command(empty.data, {"TRAINING": "epochs=11,p=0.5"})
    shape = of_variable("index", str(shop), "-q", "--json", "--training", "p=2.0").json
    assert len(shape["loss"]) == 11
    assert shape["notes"] == ["changed of the training: epochs=11,p=2.0"]


def test_similar_names_commit_and_age_and_the_nearest_files(indexed: Command, shop: Path) -> None:
    done = indexed("similar", "shop/cart.py", "--repo", "shop", "-k", "3")
    assert done.code == 0, done.err
    assert "indexed" in done.out
    assert "ago" in done.out
    shape = indexed("similar", "shop/cart.py", "--repo", "shop", "-k", "3", "--json").json
    assert len(shape["similar"]) == 3
    similarities = [hit["similarity"] for hit in shape["similar"]]
    assert similarities == sorted(similarities, reverse=True)
    assert all(-1 <= similarity <= 1 for similarity in similarities)
    assert len(shape["repository"]["commit"]) == 40
    assert shape["repository"]["age_seconds"] >= 0
    for hit in shape["similar"]:
        assert hit["path"] in done.out


def test_similar_finds_its_repository_and_its_path_from_where_the_user_stands(indexed: Command, shop: Path) -> None:
    for cwd, path in ((shop, "shop/cart.py"), (shop / "shop", "cart.py"), (shop, "./shop/cart.py")):
        assert indexed("similar", path, "--json", cwd=cwd).json["path"] == "shop/cart.py"
    assert indexed("similar", str(shop / "shop/cart.py"), "--json").json["path"] == "shop/cart.py"


def test_an_isolated_file_is_said_to_be_isolated(indexed: Command) -> None:
    done = indexed("similar", "tools/alone.py", "--repo", "shop")
    assert done.code == 1
    assert "tools/alone.py is isolated" in done.err
    shape = indexed("similar", "tools/alone.py", "--repo", "shop", "--json").json
    assert shape["error"]["type"] == "IsolatedFileError"


def test_an_unknown_file_is_answered_with_close_names(indexed: Command) -> None:
    done = indexed("similar", "shop/carts.py", "--repo", "shop", "--json")
    assert done.code == 1
    assert done.json["error"]["suggestions"] == ["shop/cart.py"]
    assert "Did you mean shop/cart.py?" in done.err
    assert "not a source file" in indexed("similar", "README.md", "--repo", "shop").err


def test_an_unknown_repository_is_answered_with_those_that_are_known(indexed: Command, shop: Path) -> None:
    done = indexed("similar", "a.py", "--repo", "nothere")
    assert done.code == 1
    assert shop.resolve().as_posix() in done.err


def test_neighbors_shows_both_directions(indexed: Command) -> None:
    shape = indexed("neighbors", "shop/cart.py", "--repo", "shop", "--json").json
    assert [file["path"] for file in shape["imports"]] == ["shop/money.py", "shop/stock.py"]
    assert [file["path"] for file in shape["importers"]] == ["shop/orders.py", "shop/web.py", "tests/test_cart.py"]
    done = indexed("neighbors", "shop/cart.py", "--repo", "shop", "--direction", "importers")
    assert "shop/web.py" in done.out
    assert "shop/money.py" not in done.out


def test_graph_json_has_the_documented_shape(empty: Command, shop: Path) -> None:
    shape = empty("graph", str(shop)).json
    assert shape["files"] == sorted(path for path in SHOP if path.endswith(".py"))
    assert shape["languages"] == ["python"] * 8
    assert ["shop/orders.py", "shop/cart.py"] in shape["edges"]
    assert shape["edge_kinds"] == ["import"] * len(shape["edges"])
    [unresolved] = shape["unresolved"]
    assert (unresolved["path"], unresolved["line"], unresolved["specifier"]) == ("shop/orders.py", 2, "shop.gone")
    assert len(shape["commit"]) == 40
    assert empty("repos", "--json").json == {"repositories": []}


def test_graphml_and_dot_hold_every_file_and_edge(empty: Command, shop: Path, tmp_path: Path) -> None:
    edges = len(empty("graph", str(shop)).json["edges"])
    assert empty("graph", str(shop), "--format", "graphml", "-o", str(tmp_path / "g.xml")).code == 0
    root = ET.parse(tmp_path / "g.xml").getroot()  # noqa: S314  # we wrote it
    space = "{http://graphml.graphdrawing.org/xmlns}"
    assert len(root.findall(f".//{space}node")) == 8
    assert len(root.findall(f".//{space}edge")) == edges
    dot = empty("graph", str(shop), "--format", "dot").out
    assert dot.count(" -> ") == edges
    assert '"shop/orders.py" -> "shop/cart.py" [kind=import];' in dot


def test_explain_says_how_each_import_was_resolved(empty: Command, shop: Path) -> None:
    done = empty("graph", str(shop), "--explain", "shop/orders.py")
    assert done.code == 0
    assert "shop/cart.py" in done.out
    assert "unresolved" in done.out
    shape = empty("graph", str(shop), "--explain", "shop/orders.py:2", "--json").json
    assert [(i["line"], i["specifier"], i["resolved"]) for i in shape["imports"]] == [(2, "shop.gone", "unresolved")]
    assert shape["imports"][0]["tried"]
    unknown = empty("graph", str(shop), "--explain", "orders.py")
    assert unknown.code == 1
    assert "Did you mean shop/orders.py" in unknown.err


def test_export_writes_every_vector(indexed: Command, tmp_path: Path) -> None:
    done = indexed("export", "shop", "-o", str(tmp_path / "shop.npz"), "--json")
    assert done.code == 0, done.err
    with np.load(tmp_path / "shop.npz") as arrays:
        assert arrays["vectors"].shape == (8, 64)
        assert arrays["vectors"].dtype == np.float32
        assert [p for p, alone in zip(arrays["paths"], arrays["isolated"], strict=True) if alone] == [
            "shop/__init__.py",
            "tools/alone.py",
        ]
    assert list(tmp_path.iterdir()) == [tmp_path / "shop.npz"]
    unwritable = indexed("export", "shop", "-o", str(tmp_path / "no/such/folder.npz"))
    assert unwritable.code == 1
    assert "cannot be written" in unwritable.err


async def claim_and_be_killed(data: Path, *, heard_s_ago: float) -> None:
    """Claim a job as a worker does, tell of its training, and say no more; the last word was so long ago."""
    database = Database.open(data / DATABASE_NAME)
    try:
        clock = ManualClock(datetime.now(UTC) - timedelta(seconds=heard_s_ago))
        queue = SqliteJobQueue(database, QueueRules(), clock)
        claim = await queue.claim("worker-1")
        assert claim is not None
        await queue.renew(claim, phase=Phase.TRAINING, fraction=0.375)
    finally:
        database.close()


def test_jobs_shows_who_runs_a_job_of_which_ref_and_in_which_phase(empty: Command) -> None:
    job = empty("submit", "github.com/test/shop", "--ref", "v1", "--json").json["job"]
    asyncio.run(claim_and_be_killed(empty.data, heard_s_ago=0))
    shape = empty("jobs", "--json").json
    assert (shape["pending"], shape["history"]) == ([], [])
    [running] = shape["running"]
    assert running["claimed_at"] < running["lease_until"]
    assert running == job | {
        "state": "running",
        "attempt": 1,
        "worker_id": "worker-1",
        "phase": "training",
        "fraction": 0.375,
        "claimed_at": running["claimed_at"],
        "lease_until": running["lease_until"],
        "lapsed": False,
    }
    [_, row] = empty("jobs").out.splitlines()
    assert row.startswith("running")
    assert "https://github.com/test/shop @ v1" in row
    assert "training 38%, claimed by worker-1" in row
    assert "not heard of" not in row


def test_jobs_shows_a_job_whose_worker_was_killed_until_the_next_claim_takes_it_back(
    empty: Command, run: Command
) -> None:
    run = Command(empty.data, run.extra)
    submitted = run("submit", "github.com/test/shop", "--json").json
    asyncio.run(claim_and_be_killed(run.data, heard_s_ago=3600))
    waits = run("submit", "github.com/test/shop", "--ref", "no-such-branch", "--json").json
    shape = run("jobs", "--json").json
    assert [(job["id"], job["lapsed"]) for job in shape["running"]] == [(submitted["job"]["id"], True)]
    assert [job["id"] for job in shape["pending"]] == [waits["job"]["id"]]
    [_, first, second, *_] = run("jobs").out.splitlines()
    assert first.startswith("running")
    assert "its worker is not heard of; the next claim takes it back" in first
    assert second.startswith("queued")
    assert "https://github.com/test/shop @ no-such-branch" in second
    assert run("worker", "--once").code == 0
    shape = run("jobs", "--json").json
    assert (shape["running"], shape["pending"]) == ([], [])
    assert [(record["status"], record["attempt"]) for record in shape["history"][:2]] == [
        ("failed", 1),
        ("complete", 2),
    ]


def test_cancel_ends_a_job_that_waits(empty: Command) -> None:
    submitted = empty("submit", "github.com/test/shop", "--json").json
    done = empty("cancel", submitted["job"]["id"])
    assert (done.code, done.out.strip()) == (
        0,
        f"job {submitted['job']['id']} of https://github.com/test/shop is cancelled",
    )
    shape = empty("cancel", submitted["job"]["id"], "--json").json
    assert (shape["state"], shape["cancel_requested"], shape["record"]["status"]) == ("cancelled", False, "cancelled")
    assert empty("jobs", "--json").json["pending"] == []


def test_cancel_of_a_running_job_waits_for_its_worker(empty: Command) -> None:
    submitted = empty("submit", "github.com/test/shop", "--json").json
    asyncio.run(claim_and_be_killed(empty.data, heard_s_ago=0))
    assert "at the worker's next heartbeat" in empty("cancel", submitted["job"]["id"]).out


def test_cancel_of_an_unknown_job_fails(empty: Command) -> None:
    done = empty("cancel", "0190a8c6-0000-7000-8000-000000000000")
    assert (done.code, done.out) == (1, "")
    assert "no job 0190a8c6" in done.err


def test_jobs_of_an_empty_queue_is_one_sentence(empty: Command) -> None:
    done = empty("jobs")
    assert (done.code, done.out) == (0, "")
    assert done.err.strip() == "no job was submitted yet: run `alexandria submit URL`"
    assert empty("jobs", "--json").json == {"running": [], "pending": [], "history": []}


def test_queue_commands_submit_work_and_report(run: Command) -> None:
    assert run("status").out.strip() == "Offline"
    submitted = run("submit", "github.com/test/shop", "--json").json
    assert (submitted["created"], submitted["position"]) == (True, 1)
    assert "already queued" in run("submit", "https://github.com/test/shop.git").out
    assert run("submit", "https://localhost/a/b").code == 1
    shape = run("jobs", "--json").json
    assert (shape["running"], [job["id"] for job in shape["pending"]]) == ([], [submitted["job"]["id"]])
    worked = run("worker", "--once")
    assert worked.code == 0, worked.err
    shape = run("jobs", "--json").json
    assert (shape["running"], shape["pending"]) == ([], [])
    assert (shape["history"][0]["status"], shape["history"][0]["files_processed"]) == ("complete", 8)
    assert "complete" in run("jobs").out
    assert run("remove", "github.com/test/shop", "--json").json == {"removed": "github.com/test/shop"}


def test_doctor_finds_nothing_wrong_here_and_says_what_is_wrong_elsewhere(run: Command, tmp_path: Path) -> None:
    done = run("doctor", "--json")
    assert done.code == 0, done.out
    checks = {check["name"]: check["verdict"] for check in done.json["checks"]}
    assert set(checks) == {
        *("python", "settings", "data directory", "queue", "catalog", "vectors", "git", "parsers", "pytorch"),
    }
    assert "fault" not in checks.values()
    (tmp_path / "file").write_text("")
    broken = Command(tmp_path / "file" / "data", {"PATH": "/nonexistent", "QUEUE_CAP": "x"})("doctor", "--json")
    assert broken.code == 1
    found = {check["name"]: check for check in broken.json["checks"]}
    assert found["settings"]["verdict"] == found["git"]["verdict"] == "fault"
    assert "QUEUE_CAP" in found["settings"]["detail"]
    assert all(check["hint"] for check in found.values() if check["verdict"] == "fault")


def test_doctor_says_how_long_each_store_took_and_which_file_was_read(tmp_path: Path) -> None:
    here = Command(tmp_path / "data", {})("doctor")
    assert re.search(r"^ok +queue +SqliteJobQueue answers in \d+ ms$", here.out, re.MULTILINE)
    assert re.search(r"^ok +catalog +SqliteCatalog answers in \d+ ms$", here.out, re.MULTILINE)
    assert re.search(r"^ok +vectors +SqliteVectorStore answers in \d+ ms$", here.out, re.MULTILINE)
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    (tmp_path / "with/.env.edge").write_text("DATABASE_URL=postgresql://u@127.0.0.1:1/x\n")
    edge = Command(tmp_path / "data", {"MODE": "EDGE"})
    found = {
        folder: {check["name"]: check for check in edge("doctor", "--json", cwd=tmp_path / folder).json["checks"]}
        for folder in ("with", "without")
    }
    assert "DATABASE_URL" in found["without"]["settings"]["detail"]
    assert f"there is no {tmp_path / 'without/.env.edge'}" in found["without"]["settings"]["hint"]
    assert "DATABASE_URL" not in found["with"]["settings"]["detail"]
    assert "there is no" not in found["with"]["settings"]["hint"]


def test_a_reader_that_closes_the_pipe_ends_the_command_in_silence(empty: Command, tmp_path: Path) -> None:
    many = write_tree(tmp_path / "many", {f"m{i}.py": f"import m{i + 1}\n" for i in range(3000)})
    with subprocess.Popen(
        [*PROGRAM, "graph", str(many)],
        env=environment(empty.data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "{\n"
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(60) in {0, 1}
