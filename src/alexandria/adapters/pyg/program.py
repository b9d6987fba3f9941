"""The program of a process that trains: graphs come in on stdin, what becomes of them goes out on stdout.

Each message is a pickle of a pair, its kind and its value: both ends are one program on one machine, and neither has
read anything but file names that a stranger wrote. A request is the arguments of `Node2VecEmbedder` and its `embed`.
Answers are `READY` once PyTorch is loaded; `PROGRESS`, `LOG` and `WARNING` while it trains; at last `DONE` or `FAILED`.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from typing import Any, Final

from alexandria.adapters.pyg.loading import load_torch

READY: Final = "ready"
PROGRESS: Final = "progress"
LOG: Final = "log"
WARNING: Final = "warning"
DONE: Final = "done"
FAILED: Final = "failed"

Tell = Callable[[str, Any], None]


def main() -> None:
    """Serve requests until stdin ends."""
    requests = Connection(os.dup(0), writable=False)
    answers = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # whatever prints must not print into the answers
    lock = threading.Lock()

    def tell(kind: str, value: Any) -> None:
        with lock:  # trainings of several seeds run in several threads
            answers.send((kind, value))

    code = 0
    try:
        serve(requests, tell)
    except (EOFError, BrokenPipeError):
        pass  # the parent has gone, or wants us gone: there is nobody left to tell
    except Exception:  # noqa: BLE001 - the end of this program, as if nobody had caught it
        traceback.print_exc()
        code = 1
    os._exit(code)  # Python would look through all of PyTorch first, which takes a second


def serve(requests: Connection, tell: Tell) -> None:
    """Answer one request after another.

    Raises:
        EOFError: `requests` has ended.
        BrokenPipeError: Nobody reads the answers.
        pickle.PicklingError: A training raised what cannot be told.
    """
    gc.disable()  # what is loaded stays, and to look through it, now or later, takes a tenth of the time
    try:
        load_torch()
        embedder = import_module("alexandria.adapters.pyg.embedder")
    except ImportError as error:
        tell(FAILED, error)
        return
    gc.freeze()
    gc.enable()
    _tell_logs_and_warnings(tell)
    tell(READY, None)
    while True:
        settings, graph, seed, log_level = requests.recv()
        logging.getLogger("alexandria").setLevel(log_level)
        try:
            made = embedder.Node2VecEmbedder(settings).embed(
                graph,
                seed=seed,
                progress=lambda at: tell(PROGRESS, at),
                cancelled=lambda: requests.poll(0),  # nothing is sent meanwhile, so it is the end
            )
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
            tell(FAILED, _with_trace(error))
        else:
            tell(DONE, made)


def _tell_logs_and_warnings(tell: Tell) -> None:
    class Handler(QueueHandler):
        def enqueue(self, record: logging.LogRecord) -> None:
            tell(LOG, record)

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        tell(WARNING, (str(message), category))

    logging.getLogger("alexandria").addHandler(Handler(None))  # type: ignore[arg-type]  # the queue is `tell`
    warnings.showwarning = show


def _with_trace(error: Exception) -> Exception:
    """Return `error` with where it was raised, which a pickle of it does not say."""
    error.add_note("in the process that trains:\n" + "".join(traceback.format_tb(error.__traceback__)))
    return error
