#!/usr/bin/env bash
# Runs the fuzzers of tests/fuzz under atheris, two at a time; fails where one finds something.
#
#     scripts/fuzz.sh [--seconds 60] [--timeout 10] [--seed N] [--keep DIR] [TARGET ...]
#
# --seconds: of each target; --timeout: of one input, more where the machine is busy. --seed: the
# same code in the same folder meets the same inputs; else others every time. --keep: a folder where
# inputs that reach something new are kept, and read from the next time (a run of an hour;
# scripts/fuzz.sh --merge DIR then makes tests/fuzz/corpus of it).
# An input that fails lies in build/fuzz: to see it fail again, python -m fuzz TARGET FILE with
# tests/ on PYTHONPATH; once it is mended it belongs into tests/fuzz/corpus/TARGET, by a name.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=60 timeout=10 seed="" keep="" merge=""
while [[ "${1:-}" == --* ]]; do
  case "$1" in
    --seconds) seconds=$2 ;;
    --timeout) timeout=$2 ;;
    --seed) seed=$2 ;;
    --keep) keep=$2 ;;
    --merge) merge=$2 ;;
    *) echo "fuzz.sh: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
export PYTHONPATH="tests${PYTHONPATH:+:$PYTHONPATH}" STRIATE_TEST_CUDA=off
python -c 'import atheris' || { echo "fuzz.sh: pip install '.[fuzz]' first" >&2; exit 2; }
mapfile -t targets < <(python -c 'import fuzz; print(*fuzz.TARGETS, sep="\n")')
[ $# -eq 0 ] || targets=("$@")
work=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$work"' EXIT
export TMPDIR="$work"
mkdir -p build/fuzz
options=(-timeout="$timeout" -rss_limit_mb=4096 -max_len=20000 -verbosity=1)
fuzzer=(python -W ignore -m fuzz)
if [ -n "$seed" ]; then # nothing by the clock, by hashes, or by the addresses of objects
  options+=(-seed="$seed" -reload=0)
  export PYTHONHASHSEED=0
  fuzzer=(setarch -R "${fuzzer[@]}")
fi

# shellcheck disable=SC2317,SC2329  # both are called by the name in $task
merge() { # writes the smallest files that reach all that those in $merge reach
  local target=$1 name
  mkdir -p "$work/$target"
  "${fuzzer[@]}" "$target" "${options[@]}" -set_cover_merge=1 "$work/$target" \
    "tests/fuzz/corpus/$target" "$merge/$target" &> "$work/$target.log"
  for name in tests/fuzz/corpus/"$target"/*; do # what libFuzzer named, not what a person did
    if [[ "$(basename "$name")" =~ ^[0-9a-f]{40}$ ]]; then rm "$name"; fi
  done
  find "$work/$target" -type f -exec cp {} "tests/fuzz/corpus/$target/" \;
}

# shellcheck disable=SC2317,SC2329
fuzz() { # one target, and one line about it
  local target=$1 log="$work/$1.log" new="${keep:-$work}/$1" code=0 inputs
  mkdir -p "$new"
  inputs=$(find "tests/fuzz/corpus/$target" -type f | LC_ALL=C sort | paste -sd,)  # not as a disk has them
  "${fuzzer[@]}" "$target" "${options[@]}" -max_total_time="$seconds" \
    -artifact_prefix="build/fuzz/$target-" -print_final_stats=1 \
    -seed_inputs="$inputs" "$new" &> "$log" || code=$?
  if [ "$code" -ne 0 ]; then
    grep -Ev '^(#|INFO|WARNING)' "$log" | tail -n 60
    echo "$target: FAILED ($code)"
    return 1
  fi
  awk -v target="$target" '
    /^#/ { for (i = 1; i < NF; i++) { if ($i == "ft:") ft = $(i + 1); if ($i == "corp:") corp = $(i + 1) } }
    /number_of_executed_units/ { runs = $2 } /average_exec_per_sec/ { rate = $2 }
    END { printf "%-12s %9d executions  %5d a second  %6d features  corpus %s\n", target, runs, rate, ft, corp }
  ' "$log"
}

task=fuzz
[ -z "$merge" ] || task=merge
for target in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
  {
    $task "$target"
    touch "$work/$target.passed"
  } &
done
wait
failed=0
for target in "${targets[@]}"; do # of two that end at once, bash may forget how the second did
  [ -e "$work/$target.passed" ] || failed=1
done
exit "$failed"
