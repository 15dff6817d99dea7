#!/usr/bin/env bash
# Everything about the readers in Python and C, from a clean checkout: a virtual environment, the package as pip builds
# it, pytest. Needs Rust, a C compiler and Python 3.10 or later; COBRING_BIN names a program to test with instead of
# building one. Arguments go to pytest.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$here/../.."
export CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-2}"
target="${CARGO_TARGET_DIR:-$root/target}"
venv="$target/venv"

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$here[test,plot]"
# The features of the whole workspace: what its tests have been built from is not built once more.
build=(--quiet --manifest-path "$root/Cargo.toml" --workspace)
if [ -z "${COBRING_BIN:-}" ]; then
  cargo build "${build[@]}" --bin cobring
  export COBRING_BIN="$target/debug/cobring"
fi
cargo build "${build[@]}" --bin cobring-reference
cargo test "${build[@]}" --no-run --test example  # with the C library that it links
export COBRING_C_LIB="${COBRING_C_LIB:-$target/debug/deps}"
export COBRING_REFERENCE="${COBRING_REFERENCE:-$target/debug/cobring-reference}"
cd "$here/tests"  # not beside the sources: the installed package is tested
exec "$venv/bin/python" -m pytest -q "$@"
