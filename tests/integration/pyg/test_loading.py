"""PyTorch, loaded for training alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from alexandria.adapters.pyg.loading import TRIED

PROGRAM = """
import inspect, sys
from alexandria.adapters.pyg import loading
module_of = inspect.getmodule
{before}
loading.load_torch()
{after}
import torch
assert inspect.getmodule is module_of
print("torch._meta_registrations" in sys.modules, torch.Generator().manual_seed(7).initial_seed())
"""
CARD = """
def import_module(name, real=loading.import_module):
    module = real(name)
    if name == "torch":
        module.cuda.is_available = lambda: {there}
    return module
loading.import_module = import_module
"""


def loaded(before: str, after: str = "") -> str:
    program = PROGRAM.format(before=before, after=after)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_this_version_was_tried() -> None:
    assert torch.__version__.startswith(TRIED), "see that the tests of this folder pass with it, then say so there"


def test_what_no_training_uses_is_left_out() -> None:
    assert loaded(CARD.format(there=False)) == "False 7"


def test_what_is_left_out_can_be_loaded_later() -> None:
    later = "import torch._meta_registrations, torch._decomp, torch._prims.rng_prims"
    assert loaded(CARD.format(there=False), later) == "True 7"


@pytest.mark.parametrize(
    "before",
    [CARD.format(there=True), "loading._version = lambda: '2.12.1'", "import torch"],
    ids=["on a card", "another version", "loaded already"],
)
def test_everything_is_there(before: str) -> None:
    compiler = "import torch._dynamo; assert torch.empty(3, device='meta').new_ones(2, 3).sum(0).shape == (3,)"
    assert loaded(before, compiler) == "True 7"


def test_an_import_that_fails_leaves_nothing_behind() -> None:
    before = """
real = loading.import_module
def fail(name):
    loading.import_module = real
    raise ImportError
loading.import_module = fail
try:
    loading.load_torch()
except ImportError:
    assert inspect.getmodule is module_of and "torch._meta_registrations" not in sys.modules
"""
    assert loaded(before + CARD.format(there=False)) == "False 7"
