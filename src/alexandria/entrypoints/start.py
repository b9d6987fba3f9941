"""Where the program `alexandria` begins: the rest is imported under a hand that catches Ctrl-C."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still loading ends it without a trace."""
    if sys.stdout is None:  # `alexandria repos >&-`
        if sys.stderr is not None:
            sys.stderr.write("error: stdout is closed, so there is nowhere to answer\n")
        raise SystemExit(1)
    try:
        from alexandria.entrypoints.cli import app  # noqa: PLC0415  # loading takes 0.3 s, in which Ctrl-C may come

        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
