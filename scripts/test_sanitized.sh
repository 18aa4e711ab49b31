#!/usr/bin/env bash
# Runs the Python tests over an extension built with AddressSanitizer and UndefinedBehaviorSanitizer,
# two processes at a time, and reports the memory that the extension leaked.
#
#     scripts/test_sanitized.sh [PYTEST OPTION ...]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build_sanitized.sh sanitize
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/logs" "$work/passed"

# Left out is what cannot hold here. Compilers, and what they build, would run under the sanitizers
# themselves; kept blocks and page faults are those of the allocator that stands aside here; nothing
# takes the time that it should; other libraries bring errors of their own; a limit of memory would
# refuse the sanitizer's; what is slow by itself. A fork beside busy threads leaves the sanitizer's own
# allocator locked, and its search for leaks dies where threads are stopped at Python's end. CUDA's
# kernels have test_cuda_sanitized.sh.
left_out=(test_bench test_bench_pipeline test_cpp_install test_cuda* test_fork test_isa
  test_neighbours test_out_of_memory test_parallel test_speed_gate test_steady_state
  test_write_benchmarks)
deselect=(
  --deselect tests/test_package.py::test_results_outlive_the_cache_and_blocks_are_used_again
  --deselect tests/test_thread_count.py::test_a_quota_is_the_default
  --deselect tests/test_thread_count.py::test_control_groups
)
files=()
for file in tests/test_*.py; do
  name=$(basename "$file" .py)
  for pattern in "${left_out[@]}"; do
    # shellcheck disable=SC2053  # patterns
    if [[ $name == $pattern ]]; then continue 2; fi
  done
  files+=("$file")
done

# Too large a size is a MemoryError, as ever, and no error of the allocator.
export ASAN_OPTIONS="detect_leaks=1 allocator_may_return_null=1 log_path=$work/logs/log"
export UBSAN_OPTIONS=print_stacktrace=1
export LSAN_OPTIONS="exitcode=0 print_suppressions=0"  # report_leaks.py decides
preload="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libstdc++.so.6)"
export PYTHONPATH=build/sanitize PYTHONMALLOC=malloc STRIATE_TEST_CUDA=off
parts=6  # some take longer: two at a time, the next as soon as one is done
run() {  # the files of one part
  local chosen=()
  for ((i = $1; i < ${#files[@]}; i += parts)); do chosen+=("${files[i]}"); done
  LD_PRELOAD="$preload" python -m pytest -q -p no:cacheprovider -m 'not slow' "${chosen[@]}" \
    "${deselect[@]}" "${@:2}" &
  echo $! > "$work/main.$1"
  local code=0
  wait $! || code=$?
  if [ $code = 0 ] || [ $code = 5 ]; then touch "$work/passed/$1"; fi  # 5: the options chose none
}
for ((part = 0; part < parts; part++)); do
  while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
  run "$part" "$@" &
done
wait
failed=0
for ((part = 0; part < parts; part++)); do
  [ -e "$work/passed/$part" ] || { echo "part $part of the files failed" && failed=1; }
done
mapfile -t mains < <(cat "$work"/main.*)
python scripts/report_leaks.py "$work/logs" "${mains[@]}" || failed=1
exit $failed
