#!/usr/bin/env bash
# Runs CUDA's kernels, compiled for this machine, under AddressSanitizer and UndefinedBehaviorSanitizer:
# shared and device memory have their exact sizes there, and vectors must be aligned.
#
#     scripts/test_cuda_sanitized.sh [PYTEST OPTION ...]
#
# striate itself is imported as it is installed, or from PYTHONPATH.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/cuda_host_sanitized
python - <<'PY'
import sys

sys.path.insert(0, "tests")
import cuda_host_build

for target in ("_cuda", "cuda_host_kernels"):
    cuda_host_build.build(target, sanitize=True)
PY

logs=$(mktemp -d)  # of processes that pytest -n does not ask how they ended, too
trap 'rm -rf "$logs"' EXIT
# Python itself leaks, and NumPy's allocations are not ours: only wrong accesses count.
export ASAN_OPTIONS="detect_leaks=0 log_path=$logs/log" UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libstdc++.so.6)"
export LD_PRELOAD
export PYTHONMALLOC=malloc STRIATE_TEST_CUDA=host STRIATE_CUDA_HOST="$PWD/$build"
# The op tests are those that run over every implementation.
mapfile -t ops < <(grep -l 'implementation: str' tests/test_*.py)
python -m pytest -q -p no:cacheprovider -k "cuda or drawn" "${ops[@]}" \
  tests/test_cuda_kernels.py tests/test_cuda_precision.py tests/test_cuda_trainer.py "$@"
if grep -rE 'ERROR: |runtime error: ' "$logs"; then
  cat "$logs"/*
  exit 1
fi
