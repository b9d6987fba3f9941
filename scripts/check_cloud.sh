#!/usr/bin/env bash
# The cloud's half on its own: installs requirements-cloud.txt and nothing else, shows what that is, and runs in it the
# tests of all that the API stands on. What CI runs as `cloud`.
#
#   scripts/check_cloud.sh [PYTEST_ARGUMENT …]     CLOUD_VENV=FOLDER keeps the environment; default: a temporary one
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3.11}
if [ -n "${CLOUD_VENV:-}" ]; then
    venv=$CLOUD_VENV
else
    venv=$(mktemp -d)
    trap 'rm -rf "$venv"' EXIT
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

"$python" -m venv "$venv"
pip install --quiet --only-binary :all: -r requirements-cloud.txt
pip install --quiet --no-deps --editable .

echo "== what the cloud installs: $(du -sm "$venv" | cut -f 1) MB with pip itself"
pip list
if found=$(pip list --format freeze | grep -i -E '^(torch|tree[-_]sitter|nvidia|triton|gitpython|scipy|transformers)'); then
    echo "what has no place in the cloud is there: $found" >&2
    exit 1
fi
(cd / && "$venv/bin/alexandria" --help >/dev/null)
echo "== neither PyTorch nor a parser is there, and alexandria starts"

# The tools of the tests bring neither; the check below says so if that changes.
pip install --quiet --only-binary :all: -r requirements-dev.txt
"$venv/bin/python" -c '
from importlib.util import find_spec
assert not any(map(find_spec, ("torch", "torch_geometric", "tree_sitter")))'

tests=(tests/unit tests/deployment tests/integration/upstash tests/integration/redis tests/integration/qdrant
    tests/integration/postgres tests/contract/test_catalog.py tests/contract/test_job_queue.py
    tests/contract/test_status_board.py tests/contract/test_vector_store.py)
[ ! -d tests/integration/api ] || tests+=(tests/integration/api)
# Indexing is the other half's.
"$venv/bin/python" -m pytest "${tests[@]}" --ignore tests/unit/test_index.py --ignore tests/unit/test_jobs.py \
    --ignore tests/unit/test_failing_stores.py --ignore tests/unit/test_presentation.py \
    --ignore tests/integration/api/test_serve.py "$@"
