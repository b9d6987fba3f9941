"""Write `docs/settings.md` from `Settings`.

.venv/bin/python scripts/settings_reference.py          # write it
.venv/bin/python scripts/settings_reference.py --check  # exit 1 if it would change
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import SecretStr

from alexandria.entrypoints.settings import Settings, variable_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

INTRODUCTION = """# Settings

Environment variables; written from the code by `scripts/settings_reference.py`. An empty variable counts as unset. All
faults in them are reported at once when a command starts.

| Variable | Default | Meaning |
|---|---|---|
"""


def reference() -> str:
    """Return the text of the page."""
    rows = []
    for name, field in Settings.model_fields.items():
        variable = variable_of(name)
        if name == "data_dir":
            default = "`$XDG_DATA_HOME/alexandria`, else `~/.local/share/alexandria`"
        elif isinstance(field.default, frozenset):
            default = f"`{','.join(sorted(field.default))}`"
        elif field.default in (None, ()) or isinstance(field.default, SecretStr):
            default = "empty"
        else:
            default = f"`{field.default}`" if str(field.default) else "empty"
        rows.append(f"| `{variable}` | {default} | {field.description} |\n")
    return INTRODUCTION + "".join(rows)


def main() -> int:
    """Write the page, or compare it with `--check`."""
    text = reference()
    if "--check" in sys.argv:
        same = PAGE.is_file() and PAGE.read_text() == text
        if not same:
            sys.stderr.write("docs/settings.md is not what scripts/settings_reference.py writes\n")
        return not same
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
