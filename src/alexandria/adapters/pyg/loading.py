"""PyTorch, loaded into a process that does nothing but train, without what only its compiler has a use for.

Of the instructions that `import torch` takes, the third left out here registers how operators act on tensors without
data (`torch._meta_registrations`, with `torch._decomp`, `torch._refs` and `torch._prims`), and finds out which line
of which module registered what.
"""

from __future__ import annotations

import inspect
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

TRIED: Final = ("2.13.",)
"""Versions of PyTorch that are known to train without these; others are loaded whole."""

_META: Final = "torch._meta_registrations"


def load_torch() -> None:
    """Import torch as far as a training needs it; nothing happens when it is imported already.

    For a process of our own: PyTorch's compiler may not work in it afterwards.

    Raises:
        ImportError: It is not installed, or cannot be loaded.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's: they spin when they start, and get nothing to do
    if "torch" in sys.modules or not _version().startswith(TRIED):
        import_module("torch")
        return
    module_of = inspect.getmodule
    inspect.getmodule = lambda *_: None  # it looks at every module there is, for each source
    sys.modules[_META] = ModuleType(_META)
    try:
        torch = import_module("torch")
    finally:
        inspect.getmodule = module_of
        del sys.modules[_META]
    if torch.cuda.is_available():
        import_module(_META)  # what runs on a card is more than was tried, and takes longer to start than this
    else:
        # What `torch._prims.rng_prims` does last, and without which there is no `torch.Generator`.
        torch._C._set_generator_metaclass(import_module("torch._opaque_base").OpaqueBaseMeta)


def _version() -> str:
    spec = find_spec("torch")
    text = Path(spec.origin).with_name("version.py").read_text("utf-8") if spec and spec.origin else ""
    return text.partition("__version__ = '")[2]
