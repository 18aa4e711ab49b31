#!/usr/bin/env bash
# Builds the extension by the preset sanitize or sanitize-threads, and the package around it in
# build/PRESET. test_sanitized.sh and test_threads_sanitized.sh begin with it.
#
#     scripts/build_sanitized.sh PRESET
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset "$1" -DPython_EXECUTABLE="$(command -v python)" \
  -Dpybind11_DIR="$(python -m pybind11 --cmakedir)"
cmake --build --preset "$1"
(cd python && find striate \( -name '*.py' -o -name '*.pyi' \) -exec cp --parents {} "../build/$1" \;)
ln -sfn "$PWD/python/striate/data/mnist_xz" "build/$1/striate/data/mnist_xz"
