"""Directories that a killed worker left without a lock: made a moment before it died, or written again by its git."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alexandria.adapters.git import sweep_leftovers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is swept where there are no file locks")


def test_a_directory_without_a_lock_is_swept_when_its_process_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as program:
        pass
    (tmp_path / f"alexandria-repo-{program.pid}-x" / "1.git").mkdir(parents=True)
    (tmp_path / f"alexandria-repo-{os.getpid()}-x").mkdir()
    (tmp_path / "alexandria-repo-99999999999999999999-x").mkdir()
    (tmp_path / "alexandria-repo-x").mkdir()
    assert sweep_leftovers(tmp_path) == 1
    assert len(list(tmp_path.iterdir())) == 3
    assert not (tmp_path / f"alexandria-repo-{program.pid}-x").exists()
