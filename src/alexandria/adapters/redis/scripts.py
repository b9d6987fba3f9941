"""The Lua scripts, read once from the files beside this module."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def queue_script(name: str) -> str:
    """Return the script for one step of the queue, with what all of them share in front."""
    return f"{_text('common')}\n{_text(name)}"


@cache
def board_script() -> str:
    """Return the script that puts up a worker's report."""
    return _text("publish")


def _text(name: str) -> str:
    return (files("alexandria.adapters.redis") / "lua" / f"{name}.lua").read_text("utf-8")
