"""Directories made for a test."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

SHOP = {
    "shop/__init__.py": "",
    "shop/cart.py": "from shop import money, stock\n",
    "shop/money.py": "import decimal\n",
    "shop/orders.py": "from shop import cart, money, stock\nimport shop.gone\n",
    "shop/stock.py": "from shop.money import price\n",
    "shop/web.py": "from shop.orders import place\nfrom shop import cart\n",
    "tests/test_cart.py": "from shop.cart import Cart\n",
    "tools/alone.py": "import os\n",
    "README.md": "# A shop\n",
}
"""A small Python repository: six linked files, two isolated ones, one import that is not there."""


def write_tree(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write `files` below `root` and return it."""
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def git(root: Path, *arguments: str) -> str:
    """Run git in `root` as a nameless user and return what it printed."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit_all(root: Path) -> str:
    """Make `root` a git repository, if it is none, commit everything, and return the commit."""
    if not (root / ".git").exists():
        git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "A state")
    return git(root, "rev-parse", "HEAD")
