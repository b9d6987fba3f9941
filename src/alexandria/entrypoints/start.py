"""Where the program `alexandria` begins: the rest is imported under a hand that catches Ctrl-C."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still loading ends it without a trace."""
    if sys.stdout is None:  # `alexandria repos >&-`
        if sys.stderr is not None:
            sys.stderr.write("error: stdout is closed, so there is nowhere to answer\n")
        raise SystemExit(1)
    try:
        if sys.argv[1:2] == ["api"]:
            _serve_quickly(sys.argv[2:])
        from alexandria.entrypoints.cli import app  # noqa: PLC0415  # loading takes 0.3 s, in which Ctrl-C may come

        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _serve_quickly(arguments: list[str]) -> None:
    """Run `alexandria api` and exit, unless there is something to explain about its arguments.

    Without the tables, the progress bars and the parser of the command line, which a server does not need.
    """
    gc.disable()  # until it serves: what is loaded stays, and to look through it meanwhile is a tenth of the start
    from alexandria.entrypoints.api.command import main as serve  # noqa: PLC0415  # for this command only
    from alexandria.entrypoints.api.command import quick_options  # noqa: PLC0415

    options = quick_options(arguments)
    if options is not None:
        raise SystemExit(serve(options))
    gc.enable()


if __name__ == "__main__":
    main()
