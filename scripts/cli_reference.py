"""Write `docs/cli.md` from the command line's own help.

.venv/bin/python scripts/cli_reference.py          # write it
.venv/bin/python scripts/cli_reference.py --check  # exit 1 if it would change
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from alexandria.entrypoints.cli import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
INTRODUCTION = """# Command line

Written from `--help` by `scripts/cli_reference.py`; a check fails when it is not.

Tables are for people and may change. `--json` writes one JSON document to stdout, with the shapes below. Progress, logs
and errors go to stderr. Exit codes: 0 done, 1 it failed (stderr says why; with `--json` stdout has
`{"error": {"type": …, "message": …}}`), 2 wrong use, 130 stopped by Ctrl-C, 143 by SIGTERM. A worker that is told to
stop by either gives its job back and ends with 0.

`--repo` takes the key of a repository (`github.com/pallets/flask`, or the path of a folder) or the end of it (`flask`).
Without it the repository that you stand in is meant, or the only one that is indexed.
"""

SHAPES = """
## JSON shapes

A *repository* is `{"repo", "url", "commit", "ref", "dirty", "generation", "indexed_at", "age_seconds", "files",
"linked", "edges", "files_failed", "imports": {"inside", "external", "unresolved", "dynamic", "unsupported",
"unresolved_share"}, "method", "seed", "device", "final_loss", "edge_auc", "converged"}`. `linked` are the files with an
edge; `edge_auc` and `final_loss` are null when there was nothing to measure. Times are ISO 8601 in UTC.

| Command | Shape |
|---|---|
| `index` | `{"repository", "languages": {name: files}, "not_read": {path: status}, "skipped": {reason: count}, "most_imported": [{"path", "importers"}], "loss": [per epoch], "notes": [sentences], "seconds": {phase: seconds}}` |
| `similar` | `{"repository", "path", "similar": [{"path", "language", "similarity"}]}`, best first |
| `neighbors` | `{"repository", "path", "imports": [{"path", "language", "depth"}], "importers": […]}` |
| `graph` | `{"commit", "files", "languages", "edges": [[importer, imported]], "edge_kinds", "unresolved": [{"path", "line", "specifier", "reason"}], "imports", "not_read"}` |
| `graph --explain` | `{"path", "imports": [{"line", "specifier", "resolved", "kind", "targets", "reason", "tried"}]}`; `line` is null for an edge that nothing in the file writes |
| `export` | `{"repository", "file"}`; the `.npz` holds `paths`, `vectors` float32 [N, 64], `isolated` bool [N] |
| `repos` | `{"repositories": [repository]}` |
| `remove` | `{"removed": key}` |
| `submit` | `{"job": {"id", "repo_url", "ref", "state", "attempt", "submitted_at"}, "created", "position", "pending"}` |
| `jobs` | `{"running": [job and "worker_id", "phase", "fraction", "claimed_at", "lease_until", "lapsed"], "pending": [job], "history": [record]}`; oldest claim first, `phase` is null before the first heartbeat, `lapsed` means that its worker is not heard of and that the next claim takes it back; history newest first |
| `cancel` | job and `"position", "phase", "fraction", "worker_id", "cancel_requested", "record"`; `record` is null until it has ended |
| `status` | `{"status": "Idle" or "Training Graph on …" or "Error: …" or "Offline"}` |
| `migrate` | `{"parts": [{"part": "catalog" or "vectors", "version", "steps"}]}`; `steps` is 0 where it was up to date |
| `doctor` | `{"checks": [{"name", "verdict": "ok" or "warning" or "fault", "detail", "hint", "seconds"}]}` |

Edge kinds: `import`, `reexport` (`export … from`), `type_only`, `implicit` (same package, nothing written). `resolved`:
`inside`, `external`, `unresolved` (should be inside and is not there), `dynamic` (computed when the program runs),
`unsupported` (an asset, a URL).
"""


def reference() -> str:
    """Return the text of the page."""
    parts = [INTRODUCTION]
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    for command in _commands():
        done = subprocess.run(
            [sys.executable, "-m", "alexandria.entrypoints.start", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        text = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
        text = text.replace("python -m alexandria.entrypoints.start", "alexandria")
        parts.append(f"\n## alexandria {command}\n\n```\n{text}\n```\n")
    return "".join(parts) + SHAPES


def _commands() -> list[str]:
    """Return the name of every command, in the order of the help."""
    return [one.name or one.callback.__name__ for one in app.registered_commands if one.callback is not None]


def main() -> int:
    """Write the page, or compare it with `--check`."""
    text = reference()
    if "--check" in sys.argv:
        same = PAGE.is_file() and PAGE.read_text() == text
        if not same:
            sys.stderr.write("docs/cli.md is not what scripts/cli_reference.py writes\n")
        return not same
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
