"""PyG's Node2Vec, imported without PyTorch's compiler.

`torch_geometric` imports `torch._dynamo` for one `isinstance`, and with it come sympy and all of `torch.distributed`:
a third of the seconds until training can begin, and 70 MB. Nothing is missing without: PyTorch imports it by itself
where it is first used (`torch.__getattr__`), by `torch_geometric` too.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import torch  # noqa: F401 - so that what stands in below stands in for torch_geometric alone

_COMPILER = "torch._dynamo"


def _import_node2vec() -> Any:
    stands_in = _COMPILER not in sys.modules
    if stands_in:
        sys.modules[_COMPILER] = ModuleType(_COMPILER)
    try:
        from torch_geometric.nn.models.node2vec import Node2Vec  # noqa: PLC0415 - with the stand-in in place
    finally:
        if stands_in:
            del sys.modules[_COMPILER]
    return Node2Vec


Node2Vec = _import_node2vec()
