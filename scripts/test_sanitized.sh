#!/usr/bin/env bash
# Runs the op tests over an extension built with AddressSanitizer and UndefinedBehaviorSanitizer.
#
#     scripts/test_sanitized.sh [PYTEST OPTION ...]
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset sanitize -DPython_EXECUTABLE="$(command -v python)" \
  -Dpybind11_DIR="$(python -m pybind11 --cmakedir)"
cmake --build --preset sanitize
(cd python && find striate -name '*.py' -exec cp --parents {} ../build/sanitize \;)
ln -sfn "$PWD/python/striate/data/mnist_xz" build/sanitize/striate/data/mnist_xz

# Python itself leaks, and NumPy's allocations are not ours: only wrong accesses count.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
export LD_PRELOAD="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libstdc++.so.6)"
export PYTHONPATH=build/sanitize PYTHONMALLOC=malloc STRIATE_TEST_CUDA=off
# The op tests are those that run over every implementation.
mapfile -t ops < <(grep -l 'implementation: str' tests/test_*.py)
python -m pytest -q -p no:cacheprovider "${ops[@]}" "$@"
