"""The embedder in a process of its own: what the contract does not ask."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest
import torch

from alexandria.adapters.pyg import spawn
from alexandria.adapters.pyg.embedder import Node2VecEmbedder
from alexandria.adapters.pyg.process import ProcessEmbedder
from alexandria.adapters.pyg.settings import Node2VecSettings
from alexandria.adapters.pyg.spawn import TrainingProcess
from alexandria.domain.graph import DependencyGraph
from alexandria.domain.imports.outcome import EdgeKind
from alexandria.domain.language import Language
from alexandria.ports.graph_embedder import EmbedderCrashedError, EmbedderOutOfMemoryError, EmbeddingCancelledError

Open = Callable[..., ProcessEmbedder]
NAMES = [f"f{k:02}.py" for k in range(30)]
RING = DependencyGraph.from_edges(
    dict.fromkeys(NAMES, Language.PYTHON),
    [(NAMES[k], NAMES[(k + 1) % 30], EdgeKind.IMPORT) for k in range(30)],
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    embedders: list[ProcessEmbedder] = []

    def opened(settings: Node2VecSettings | None = None, instead_of_training: str = "") -> ProcessEmbedder:
        with monkeypatch.context() as patch:
            if instead_of_training:
                before = spawn._BOOT.removesuffix("; main()")
                body = f"def train(*_, **__):\n    {instead_of_training}\n"
                boot = f"{before}\nfrom alexandria.adapters.pyg import embedder\n{body}embedder.train = train\nmain()"
                patch.setattr(spawn, "_BOOT", boot)
            embedders.append(ProcessEmbedder(settings or Node2VecSettings(epochs=2), TrainingProcess()))
        return embedders[-1]

    yield opened
    for embedder in embedders:
        embedder.close()


def pid_of(embedder: ProcessEmbedder) -> int:
    assert embedder._process is not None
    return embedder._process.pid


@pytest.mark.parametrize(
    "settings",
    [
        Node2VecSettings(epochs=2),
        Node2VecSettings(method="prone"),
        Node2VecSettings(epochs=2, seeds=3, p=0.5, q=2.0),
        Node2VecSettings(epochs=2, held_out=False, threads=2, edge_weights=((EdgeKind.IMPORT, 2.0),)),
    ],
    ids=["default", "prone", "seeds", "weights"],
)
def test_vectors_are_those_of_a_training_in_this_process(opened: Open, settings: Node2VecSettings) -> None:
    there, here = opened(settings).embed(RING, seed=5), Node2VecEmbedder(settings).embed(RING, seed=5)
    assert there.vectors.tobytes() == here.vectors.tobytes()
    assert there.report.loss == here.report.loss


@pytest.mark.skipif(torch.cuda.is_available(), reason="it says another thing where there is a card")
def test_what_the_training_logs_is_logged_here(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    embedder = opened(Node2VecSettings(epochs=5, device="cuda"))
    with caplog.at_level(logging.INFO, logger="alexandria"):
        embedder.embed(RING, seed=0)
    said = {record.getMessage(): record for record in caplog.records}
    assert "a GPU was asked for and there is none; trained on the CPU" in said
    (epoch,) = [record for message, record in said.items() if message.startswith("epoch 5 of 5")]
    assert vars(epoch)["epoch"] == 5  # what log lines in JSON are made of
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="alexandria"):
        embedder.embed(RING, seed=0)
    assert not caplog.records


def test_what_the_training_warns_of_is_warned_of_here(opened: Open) -> None:
    embedder = opened(
        instead_of_training="import warnings; warnings.warn('half the step', RuntimeWarning); raise KeyError"
    )
    with pytest.warns(RuntimeWarning, match="half the step"), pytest.raises(KeyError):
        embedder.embed(RING, seed=0)


def test_an_error_is_raised_here_with_where_it_came_from(opened: Open) -> None:
    where = "from alexandria.ports.graph_embedder import EmbedderOutOfMemoryError as E"
    embedder = opened(instead_of_training=f"{where}; raise E('too large')")
    for _ in range(2):  # the process is as it was
        with pytest.raises(EmbedderOutOfMemoryError, match="too large") as raised:
            embedder.embed(RING, seed=0)
        assert "in train" in "".join(raised.value.__notes__)


def test_a_process_that_dies_is_said_and_replaced(opened: Open) -> None:
    embedder = opened(instead_of_training="import os; os.kill(os.getpid(), 9)")
    with pytest.raises(EmbedderCrashedError, match="was killed"):
        embedder.embed(RING, seed=0)
    assert embedder.embed(RING, seed=0).num_linked == 30


def test_an_error_that_cannot_be_sent_ends_the_process_and_is_printed(
    opened: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    embedder = opened(instead_of_training="raise type('Odd', (Exception,), {})('unheard of')")
    with pytest.raises(EmbedderCrashedError, match="code 1"):
        embedder.embed(RING, seed=0)
    assert "unheard of" in capfd.readouterr().err


@pytest.mark.parametrize("size", [0, 3])
def test_a_process_that_dies_within_a_message_is_said(opened: Open, size: int) -> None:
    # 4 is the pipe that the program has made of its stdout; the length of a message takes four bytes.
    embedder = opened(instead_of_training=f"import os; os.write(4, bytes({size})); os._exit(4)")
    with pytest.raises(EmbedderCrashedError, match="code 4"):
        embedder.embed(RING, seed=0)


def test_a_process_that_died_while_it_waited_is_said_and_replaced(opened: Open) -> None:
    embedder = opened()
    psutil.Process(pid_of(embedder)).kill()
    with pytest.raises(EmbedderCrashedError, match="was killed"):
        embedder.embed(RING, seed=0)
    assert embedder.embed(RING, seed=0).num_linked == 30


def test_a_cancel_ends_the_process_at_once(opened: Open) -> None:
    embedder = opened(instead_of_training="import time; time.sleep(60)")
    process = psutil.Process(pid_of(embedder))
    with pytest.raises(EmbeddingCancelledError):
        embedder.embed(RING, seed=0, cancelled=lambda: True)
    assert not process.is_running()


def test_without_pytorch_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "_BOOT", spawn._BOOT.replace("from ", "sys.modules['torch'] = None; from ", 1))
    process = TrainingProcess()
    try:
        with pytest.raises(ModuleNotFoundError) as raised:
            ProcessEmbedder(Node2VecSettings(), process)
        assert raised.value.name == "torch"
    finally:
        process.close()


def test_a_process_that_cannot_load_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "_BOOT", "raise SystemExit(3)")
    with pytest.raises(EmbedderCrashedError, match="code 3"):
        ProcessEmbedder(Node2VecSettings(), TrainingProcess())


@pytest.mark.parametrize("moment", ["loading", "waiting", "training"])
def test_it_outlives_no_parent(moment: str) -> None:
    program = f"""
import sys, time
from alexandria.adapters.pyg.spawn import TrainingProcess
process = TrainingProcess()
if {moment!r} != "loading":
    from alexandria.adapters.pyg.process import ProcessEmbedder
    from alexandria.adapters.pyg.settings import Node2VecSettings
    embedder = ProcessEmbedder(Node2VecSettings(epochs=100_000), process)
print(process.pid, flush=True)
if {moment!r} == "training":
    from alexandria.domain.graph import DependencyGraph
    from alexandria.domain.imports.outcome import EdgeKind
    from alexandria.domain.language import Language
    languages = dict.fromkeys(["a.py", "b.py"], Language.PYTHON)
    graph = DependencyGraph.from_edges(languages, [("a.py", "b.py", EdgeKind.IMPORT)])
    embedder.embed(graph, seed=0, progress=lambda at: at.epoch == 3 and print("training", flush=True))
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if moment == "training":
            assert parent.stdout.readline() == "training\n"
        parent.send_signal(signal.SIGKILL)
    gone, _ = psutil.wait_procs([child], timeout=60)
    assert gone
