"""`python -m alexandria.entrypoints.api`: the same as `alexandria api`."""

from __future__ import annotations

import sys

from alexandria.entrypoints.api.command import main, quick_options

if __name__ == "__main__":
    options = quick_options(sys.argv[1:])
    if options is None:
        raise SystemExit("usage: python -m alexandria.entrypoints.api [--host HOST] [--port PORT]")
    raise SystemExit(main(options))
