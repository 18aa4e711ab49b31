#!/usr/bin/env bash
# Builds, tests and measures the CUDA backend on a machine with a GPU; needs no network.
#
#     OUT=FOLDER scripts/measure_cuda.sh [STAGE ...]
#
# Stages, each at most ten minutes: build, test, sanitize, bench (LeNet-5, what waits for memory,
# digits, the roof), gemm, conv, alexnet, compile (LeNet-5 against compiled PyTorch). Without a
# stage: all of them. A step that fails or takes too long is named at the end, the others go on.
#
# There must be CUDA 13's toolkit, CMake, Ninja, and a Python with pybind11, NumPy, CuPy, PyTorch,
# Pillow, rich, safetensors, pytest and Hypothesis. FOLDER (default: build/cuda_figures) gets one
# JSON file for each work, benchmarks.md with their tables, and measure.log with all that was said.
# `scripts/write_benchmarks.py --write --folder FOLDER` puts them into docs/benchmarks.md.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out=${OUT:-build/cuda_figures}
mkdir -p "$out"
log=$out/measure.log
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
export PYTHONPATH="$PWD/python${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
failed=()

# step NAME SECONDS COMMAND ...
step() {
  local name=$1 limit=$2 started=$SECONDS
  shift 2
  printf '\n== %s\n' "$name" | tee -a "$log"
  if timeout --kill-after=10 "$limit" "$@" 2>&1 | tee -a "$log"; then
    printf '== %s: %d s\n' "$name" $((SECONDS - started)) | tee -a "$log"
  else
    failed+=("$name")
    printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - started)) | tee -a "$log"
    return 1
  fi
}

stage_build() {
  step configure 60 cmake --preset cuda -DSTRIATE_WERROR=OFF \
    -DPython_EXECUTABLE="$(command -v "$python")" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" &&
    step compile-sources 480 cmake --build build/cuda --parallel "$(nproc)" &&
    step info 60 "$python" -m striate info
}

stage_test() { # not the emulation's
  step test 580 "$python" -m pytest -q -p no:cacheprovider tests -k "cuda and not cuda_host" \
    --ignore=tests/test_cuda_cupy.py --ignore=tests/test_cuda_host.py
}

# Tests of ops under compute-sanitizer. Each array has memory of its own, or a step over the end of
# one would be one into its neighbour in CuPy's pool, which nothing sees.
stage_sanitize() {
  printf 'import cupy\n\ncupy.cuda.set_allocator(None)\n' > "$work/no_pool.py"
  local tool found=""
  for tool in memcheck racecheck; do
    PYTHONPATH="$work:$PYTHONPATH" step "$tool" 280 \
      compute-sanitizer --tool "$tool" --error-exitcode 9 --log-file "$work/$tool" \
      "$python" -m pytest -q -x -p no:cacheprovider -p no_pool -k "cuda and not cuda_host" \
      tests/test_relu.py tests/test_max_pool2d.py tests/test_softmax.py tests/test_sgd.py \
      tests/test_gemm.py tests/test_linear.py
    cat "$work/$tool" >> "$log"
    local line
    line=$(grep SUMMARY "$work/$tool" | tail -n 1 | sed 's/^=* *//; s/"//g')
    found+="${found:+, }\"$tool\": \"${line:-did not end}\""
  done
  printf '{%s}\n' "$found" > "$out/cuda-sanitize.json"
}

# measure SECONDS WORK ...: anew, within so many seconds each
measure() {
  local limit=$1 name
  shift
  for name in "$@"; do
    step "$name" $((limit + 20)) "$python" scripts/write_benchmarks.py \
      --only "cuda-$name" --limit "$limit" --folder "$out" --document "$out/benchmarks.md"
  done
}

stage_bench() { measure 120 lenet5 memory digits layers; }
stage_gemm() { measure 560 gemm; }
stage_conv() { measure 560 conv; }
stage_alexnet() { measure 560 alexnet; }
stage_compile() { measure 560 lenet5-compile; }

stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(build test sanitize bench gemm conv alexnet compile)
for stage in "${stages[@]}"; do
  case $stage in
    build | test | sanitize | bench | gemm | conv | alexnet | compile) ;;
    *)
      echo "measure_cuda.sh: there is no stage '$stage'" >&2
      exit 2
      ;;
  esac
done
[ -e "$out/benchmarks.md" ] || cp docs/benchmarks.md "$out/benchmarks.md"
for stage in "${stages[@]}"; do
  "stage_$stage"
done

printf '\n' | tee -a "$log"
"$python" scripts/cuda_bars.py "$out" | tee -a "$log"
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[*]}" | tee -a "$log"
  exit 1
fi
