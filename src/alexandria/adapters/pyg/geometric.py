"""PyG's Node2Vec, imported without PyTorch's compiler and without PyG's datasets.

`torch_geometric` imports `torch._dynamo` for one `isinstance`, and with it come sympy and all of `torch.distributed`:
a third of the seconds until training can begin, and 70 MB. Its own data sets, with what downloads them, are a third of
the rest. Nothing is missing without: PyTorch imports its compiler by itself where it is first used
(`torch.__getattr__`), by `torch_geometric` too, and the data sets are loaded when one is asked for.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import torch  # noqa: F401 - so that what stands in below stands in for torch_geometric alone

from alexandria.domain.late import LateModule

_COMPILER = "torch._dynamo"
_DATASETS = "torch_geometric.datasets"


def _import_node2vec() -> Any:
    stand_ins = [name for name in (_COMPILER, _DATASETS) if name not in sys.modules]
    sys.modules.update({name: ModuleType(name) for name in stand_ins})
    try:
        from torch_geometric.nn.models.node2vec import Node2Vec  # noqa: PLC0415 - with the stand-ins in place
    finally:
        for name in stand_ins:
            del sys.modules[name]
    if _DATASETS in stand_ins:
        sys.modules["torch_geometric"].datasets = LateModule(_DATASETS)  # type: ignore[attr-defined]
    return Node2Vec


Node2Vec = _import_node2vec()
