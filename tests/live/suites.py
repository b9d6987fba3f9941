"""The contract suites, to be run over an owner's accounts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any


def cases_that_take(suite: ModuleType, fixture: str) -> dict[str, Callable[..., Any]]:
    """Return the tests of a suite that are given the store of the module which takes them over."""
    tests = {name: test for name, test in vars(suite).items() if name.startswith("test_")}
    return {name: test for name, test in tests.items() if fixture in inspect.signature(test).parameters}
