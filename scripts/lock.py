"""Write `requirements-*.txt` from pyproject's ranges and what is installed: every package once, exactly.

    .venv/bin/python scripts/lock.py          # write the files
    .venv/bin/python scripts/lock.py --check  # exit 1 if they would change

To update a package: `.venv/bin/pip install -U PACKAGE`, run this, run `make check`.
A package stands in `base` if both halves need it, else in the half that needs it, else in `dev`.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADERS = {
    "base": "# What both halves need. Written by scripts/lock.py.",
    "cloud": "# The control plane: no torch, no tree-sitter, no git. Written by scripts/lock.py.",
    "edge": "# The worker: PyTorch and the parsers. Written by scripts/lock.py.",
    "dev": "# What the checks need, on top of both halves. Written by scripts/lock.py.",
}
INCLUDES = {"base": [], "cloud": ["base"], "edge": ["base"], "dev": []}


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """Return the exact version by canonical name of all that `requirements` bring, themselves included.

    Raises:
        PackageNotFoundError: One of them is not installed.
    """
    pins: dict[str, str] = {}
    todo = [(Requirement(text), "") for text in requirements]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found = distribution(requirement.name)
        wanted = [(Requirement(text), e) for text in found.requires or [] for e in ("", *requirement.extras)]
        if name in pins and not requirement.extras:
            continue
        # A local version (`2.13.0+cpu`) says how it was built, not which release it is.
        pins[name] = found.version.partition("+")[0]
        todo += wanted
    return pins


def files() -> dict[str, str]:
    """Return the text of each requirements file by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = {"base": closure(project["dependencies"]), **{group: closure(extras[group]) for group in extras}}
    pins["base"] |= {name: v for name, v in pins["cloud"].items() if name in pins["edge"]}
    taken: set[str] = set()
    texts = {}
    for group, header in HEADERS.items():
        own = {name: v for name, v in pins[group].items() if name not in taken}
        taken |= own.keys()
        lines = [f"-r requirements-{other}.txt" for other in INCLUDES[group]]
        lines += [header, *(f"{name}=={version}" for name, version in sorted(own.items()))]
        texts[f"requirements-{group}.txt"] = "\n".join(lines) + "\n"
    return texts


def main() -> int:
    """Write the files, or compare them with `--check`."""
    stale = {name: text for name, text in files().items() if not _same(ROOT / name, text)}
    if "--check" in sys.argv:
        for name in stale:
            sys.stderr.write(f"{name} is not what scripts/lock.py writes\n")
        return bool(stale)
    for name, text in stale.items():
        (ROOT / name).write_text(text)
        sys.stderr.write(f"wrote {name}\n")
    return 0


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


if __name__ == "__main__":
    raise SystemExit(main())
