#!/usr/bin/env bash
# A virtual environment with the peers in Python and with our own package: target/peers/bin/python is what
# `bench … --python` wants. Needs Python 3.12 or later (PYTHON names one).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$here/../.."
venv="${CARGO_TARGET_DIR:-$root/target}/peers"

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" "$root/tools/python"
