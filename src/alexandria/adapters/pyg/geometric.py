"""PyG's Node2Vec, imported without the rest of PyG.

The file of the class takes four names from other files of PyG, for its `__init__` alone, which is not called here. To
import its package would load all layers, loaders, transforms and data sets, a seventh of the instructions until
training can begin, and with PyTorch's compiler, which PyG imports for one `isinstance`, many more. So the file is
loaded by itself, and the four names are looked up when they are used. Whoever imports `torch_geometric` finds all of
it, and in it this very class.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

_PYG: Final = "torch_geometric"
_MODULE: Final = "torch_geometric.nn.models.node2vec"


class _LateName:
    """A function or a flag of a module that is imported when it is called or asked."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _value(self) -> Any:
        return getattr(import_module(self._module), self._name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._value()(*arguments, **named)

    def __bool__(self) -> bool:
        return bool(self._value())


def _import_all_but_pyg(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    if fromlist and level == 0 and name.partition(".")[0] == _PYG:
        return SimpleNamespace(**{each: _LateName(name, each) for each in fromlist})
    return builtins.__import__(name, globals, locals, fromlist or (), level)


def _import_node2vec() -> Any:
    package = find_spec(_PYG)
    directories = package.submodule_search_locations if package else None
    path = Path(directories[0], "nn", "models", "node2vec.py") if directories else None
    spec = spec_from_file_location(_MODULE, path) if path and path.is_file() else None
    if _MODULE in sys.modules or spec is None or spec.loader is None:
        from torch_geometric.nn import Node2Vec  # noqa: PLC0415 - all of PyG, where there is no such file

        return Node2Vec
    module = module_from_spec(spec)
    # In what this one module imports with, not in `sys.modules`, where other threads would find it.
    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import_all_but_pyg}
    spec.loader.exec_module(module)
    return sys.modules.setdefault(_MODULE, module).Node2Vec


Node2Vec = _import_node2vec()
