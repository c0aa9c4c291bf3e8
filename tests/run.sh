#!/usr/bin/env bash
# Every check of this project, in the order in which a failure is cheapest to find.
# Needs a Rust toolchain with rustfmt and clippy, and Python 3.9 or newer with `venv`.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

heading() {
    printf '\n== %s\n' "$1"
}

fail() {
    printf 'tests/run.sh: %s\n' "$1" >&2
    exit 1
}

require_tools() {
    command -v cargo >/dev/null ||
        fail 'cargo is missing; install the Rust toolchain (https://rustup.rs) and put it on the PATH'
    command -v python3 >/dev/null ||
        fail 'python3 is missing; install Python 3.9 or newer'
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
        fail 'python3 is older than 3.9; install a newer Python'
    cargo fmt --version >/dev/null 2>&1 ||
        fail 'rustfmt is missing; run: rustup component add rustfmt'
    cargo clippy --version >/dev/null 2>&1 ||
        fail 'clippy is missing; run: rustup component add clippy'
}

# Leaves the interpreter of the virtual environment in `python`; installs only what has changed.
prepare_python() {
    local venv=tests/.venv
    python="$PWD/$venv/bin/python"
    if cmp -s tests/requirements.txt "$venv/installed.txt"; then
        return
    fi
    python3 -c 'import ensurepip' 2>/dev/null ||
        fail 'python3 cannot make virtual environments; install the package python3-venv'
    python3 -m venv --clear "$venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt ||
        fail 'the Python packages of tests/requirements.txt could not be installed; see above'
    cp tests/requirements.txt "$venv/installed.txt"
}

# cargo knows best where it builds: CARGO_TARGET_DIR, a configuration file or the default.
target_directory() {
    cargo metadata --format-version 1 --no-deps |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

require_tools

heading 'Python environment'
prepare_python

heading 'cargo fmt'
cargo fmt --check

heading 'cargo clippy'
cargo clippy --all-targets -- -D warnings

heading 'cargo test'
cargo test

heading 'cargo build'
cargo build --bin photog
PHOTOG_BIN="$(target_directory)/debug/photog"
export PHOTOG_BIN

heading 'flows through the running program'
"$python" -m pytest -q tests/flows

if [[ -f benches/queue.rs ]]; then
    heading 'benchmarks, once at the smallest size'
    cargo bench --profile dev --bench queue -- --smoke
    cargo bench --profile dev --bench faces -- --smoke
    cargo bench --profile dev --bench demo -- --smoke
    cargo bench --profile dev --bench diffusion -- --smoke
    cargo bench --profile dev --bench training -- --smoke
    cargo bench --profile dev --bench portrait -- --smoke
    cargo bench --profile dev --bench gpu -- --smoke
fi

printf '\ntests/run.sh: all passed\n'
