"""Where the program `alexandria` begins: the rest is imported under a hand that catches Ctrl-C."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alexandria.adapters.pyg.spawn import TrainingProcess

_UNUSED = ("pydantic.v1", "werkzeug", "yaml")
"""What packages of ours load where they find it, and work without: models of an older kind, a framework and files of
settings that are not ours."""
_UNUSED_BY_SERVER = (*_UNUSED, "rich")  # tracebacks in colour
_UNUSED_BY_COMMANDS = (*_UNUSED, "fastapi", "starlette")


def main() -> None:
    """Run the command line; Ctrl-C while it is still loading ends it without a trace."""
    if sys.stdout is None:  # `alexandria repos >&-`
        if sys.stderr is not None:
            sys.stderr.write("error: stdout is closed, so there is nowhere to answer\n")
        raise SystemExit(1)
    training: TrainingProcess | None = None
    try:
        training = _start_training(sys.argv[1:])
        gc.disable()  # what is loaded stays, and to look through it, now or later, is a tenth of the start
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look through all that is installed
        if sys.argv[1:2] == ["api"]:
            _serve_quickly(sys.argv[2:])
        with _without(_UNUSED_BY_COMMANDS):
            from alexandria.entrypoints.cli import app  # noqa: PLC0415  # loading takes 0.3 s, in which Ctrl-C may come

            import_module("dependency_injector.containers")  # now, not when stores are wired: it loads all of FastAPI
        gc.freeze()
        gc.enable()
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        gc.freeze()  # else Python looks through all of PyTorch for cycles before it ends, which takes a second
        if training is not None:
            training.close()


def _start_training(arguments: Sequence[str]) -> TrainingProcess | None:
    """Start the process that trains for `alexandria index`: PyTorch then loads beside the rest of this program."""
    if arguments[:1] != ["index"] or {"-h", "--help"}.intersection(arguments):
        return None
    from alexandria.adapters.pyg import spawn  # noqa: PLC0415  # for this command only: the cloud has no PyTorch

    try:
        return spawn.start()
    except OSError:
        return None  # as many processes as there may be: it trains in this one


def _serve_quickly(arguments: list[str]) -> None:
    """Run `alexandria api` and exit, unless there is something to explain about its arguments.

    The garbage collector is off until the server listens. Without the tables, the progress bars and the parser of the
    command line, which a server does not need.
    """
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # its command line: with it comes `rich`
    with _without(_UNUSED_BY_SERVER), _models_built_when_used():
        import_module("dependency_injector.containers")  # now, not when stores are wired
        from alexandria.entrypoints.api.command import main as serve  # noqa: PLC0415  # for this command only
        from alexandria.entrypoints.api.command import quick_options  # noqa: PLC0415

    options = quick_options(arguments)
    if options is not None:
        raise SystemExit(serve(options))


@contextmanager
def _without(unused: Sequence[str]) -> Iterator[None]:
    """Let what is imported meanwhile find none of `unused`."""
    hidden = [name for name in unused if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: as if it were not installed
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _models_built_when_used() -> Iterator[None]:
    """Let the models of pydantic that are imported meanwhile get their validators when they are first used.

    FastAPI has forty for the OpenAPI document, most of which no request ever needs.
    """
    from pydantic import BaseModel  # noqa: PLC0415  # for this command only

    BaseModel.model_config["defer_build"] = True  # a model takes the configuration of its base
    try:
        yield
    finally:
        del BaseModel.model_config["defer_build"]


if __name__ == "__main__":
    main()
