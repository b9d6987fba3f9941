#!/usr/bin/env bash
# Set up a worker on this machine (Linux, macOS, or Linux under WSL 2). Run it again at any time: what is done stays.
#
#   ./setup_edge.sh                  check, install, fill in .env.edge, migrate, test
#   ./setup_edge.sh --check          only look whether the machine has what is needed
#   ./setup_edge.sh --configure      only fill in .env.edge
#   ./setup_edge.sh --no-test        without asking the stores at the end
#
# Environment:
#   PYTHON            the Python to use; default: python3.11 (which the tests run with), else a newer one on PATH
#   VENV              where to install; default: .venv here
#   TORCH_INDEX_URL   where PyTorch comes from: the --index-url that the selector at https://pytorch.org/get-started/locally/
#                     shows for this machine. Empty: where pip looks anyway (on Linux that build carries CUDA).
#   and every variable that .env.edge.template leaves empty: if it is set, it is not asked for.
set -euo pipefail
cd "$(dirname "$0")"

readonly ENV_FILE=.env.edge
readonly TEMPLATE=.env.edge.template
readonly SELECTOR=https://pytorch.org/get-started/locally/
VENV=${VENV:-.venv}

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "setup_edge.sh: $*"
    exit 1
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer with venv is needed. Name it with PYTHON=/path/to/python (Debian: apt install python3-venv)"
}

check_git() {
    command -v git >/dev/null || fail "git 2.37 or newer is needed and not on PATH"
    local version
    version=$(git --version | sed 's/[^0-9]*\([0-9]*\.[0-9]*\).*/\1/')
    local major=${version%%.*} minor=${version#*.}
    [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -ge 37 ]; } ||
        fail "git $version is too old: 2.37 or newer is needed, to pin the address that is cloned from"
    say "git           $version"
}

check_room() {
    local free_kb
    free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
    [ "$free_kb" -ge 6000000 ] || [ -x "$VENV/bin/alexandria" ] ||
        fail "$((free_kb / 1000)) MB are free here: PyTorch with CUDA needs about 6,000"
}

gpu_of_machine() { command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1; }

check() {
    python=$(find_python)
    say "python        $python, $("$python" -c 'import platform; print(platform.python_version())')"
    check_git
    check_room
    gpu=$(gpu_of_machine || true)
    say "GPU           ${gpu:-none that nvidia-smi names: training will run on the CPU}"
}

# What the installation was made from: when none of it changed there is nothing to install.
fingerprint() {
    "$VENV/bin/python" - "${TORCH_INDEX_URL:-}" <<'PYTHON'
import hashlib, sys
digest = hashlib.sha256(repr((sys.version, sys.argv[1])).encode())
for name in ("requirements-base.txt", "requirements-edge.txt", "pyproject.toml"):
    digest.update(open(name, "rb").read())
print(digest.hexdigest())
PYTHON
}

install() {
    [ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV"
    local stamp="$VENV/.set-up-from" now
    now=$(fingerprint)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]; then
        say "installation  $VENV is as the pins say"
        return
    fi
    say "installation  into $VENV (a minute plus the download) …"
    local pip=("$VENV/bin/python" -m pip install --quiet --disable-pip-version-check)
    if [ -n "${TORCH_INDEX_URL:-}" ]; then
        # Its version is ours, its build is of the index: 2.x+cu… counts as 2.x, so the pins below leave it alone.
        "${pip[@]}" --only-binary :all: --index-url "$TORCH_INDEX_URL" "$(grep '^torch==' requirements-edge.txt)"
    fi
    "${pip[@]}" --only-binary :all: -r requirements-edge.txt
    "${pip[@]}" --no-deps --editable .
    printf '%s\n' "$now" >"$stamp"
}

# What the environment says, else what the file says.
wanted_device() {
    [ -z "${DEVICE:-}" ] || { printf '%s\n' "$DEVICE" && return; }
    [ ! -f "$ENV_FILE" ] || sed -n "s/^DEVICE=['\"]\{0,1\}\([a-z]*\).*/\1/p" "$ENV_FILE"
}

verify_cuda() {
    local seen
    seen=$("$VENV/bin/python" -c '
import torch
print(torch.__version__, "sees", torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU")')
    say "PyTorch       $seen"
    case "$seen" in *"sees no GPU") ;; *) return ;; esac
    [ -n "${gpu:-}" ] && [ "$(wanted_device)" != cpu ] || return 0
    say "This machine has a GPU ($gpu), and this build of PyTorch does not use it."
    say "Take the --index-url for this machine from $SELECTOR and run"
    say "    TORCH_INDEX_URL=… ./setup_edge.sh"
    fail "or set DEVICE=cpu in $ENV_FILE, if the CPU is meant"
}

# Names that the template leaves empty, in its order.
required() { sed -n 's/^\([A-Z][A-Z0-9_]*\)=$/\1/p' "$TEMPLATE"; }

set_variable() {
    local name=$1 value=$2 line written
    case "$value" in
    *\'* | *\\* | *$'\n'*) fail "$name: has a quote, a backslash or a line break, which $ENV_FILE cannot hold" ;;
    esac
    written=$(mktemp "$ENV_FILE.XXXXXX") # private from the first byte, and in one step in its place
    while IFS= read -r line || [ -n "$line" ]; do
        if [ "$line" = "$name=" ]; then printf "%s='%s'\n" "$name" "$value"; else printf '%s\n' "$line"; fi
    done <"$ENV_FILE" >"$written"
    mv "$written" "$ENV_FILE"
}

configure() {
    umask 077
    [ -f "$ENV_FILE" ] || cp "$TEMPLATE" "$ENV_FILE"
    chmod 600 "$ENV_FILE"
    local name value missing=()
    for name in $(required); do
        grep -q "^$name=$" "$ENV_FILE" || continue
        value=${!name:-}
        if [ -z "$value" ] && [ -t 0 ]; then
            case "$name" in
            *TOKEN | *KEY | DATABASE_URL) read -r -s -p "$name (not shown): " value && say "" ;;
            *) read -r -p "$name: " value ;;
            esac
        fi
        if [ -n "$value" ]; then set_variable "$name" "$value"; else missing+=("$name"); fi
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "configuration $ENV_FILE has no ${missing[*]}"
    else
        say "configuration $ENV_FILE is filled in"
    fi
}

# What is really needed the program knows: with VECTOR_STORE=pgvector no Qdrant is, with REDIS_URL no Upstash.
check_settings() {
    MODE=EDGE "$VENV/bin/python" - <<'PYTHON' || fail "put it into $ENV_FILE, or set the variables, and run this again"
import sys
from alexandria.entrypoints.settings import Settings, SettingsError
try:
    Settings.load()
except SettingsError as error:
    sys.exit(str(error))
PYTHON
}

self_test() {
    say "stores        making or bringing up to date the tables of the catalog"
    MODE=EDGE "$VENV/bin/alexandria" migrate
    MODE=EDGE "$VENV/bin/python" worker.py --test
    say ""
    say "Start the worker:  MODE=EDGE $VENV/bin/python worker.py"
    say "or as a service:   docs/guides/edge-setup.md"
}

main() {
    local wanted=${1:-all}
    case "$wanted" in
    --check) check ;;
    --configure) configure ;;
    all | --no-test)
        check
        install
        verify_cuda
        configure
        check_settings
        [ "$wanted" = --no-test ] || self_test
        ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" ;;
    *) fail "no option $wanted; --help lists them" ;;
    esac
}

main "$@"
