#!/usr/bin/env bash
# Runs the tests of threads over an extension built with ThreadSanitizer; a race ends pytest.
#
#     scripts/test_threads_sanitized.sh [PYTEST OPTION ...]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build_sanitized.sh sanitize-threads
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# Python is not instrumented, but its locks are pthread's, which ThreadSanitizer follows: what one
# thread does before it gives up the GIL comes before what another does once it has it. So nothing
# is suppressed.
export TSAN_OPTIONS="halt_on_error=1 exitcode=66 log_path=$logs/log"
export PYTHONPATH=build/sanitize-threads STRIATE_TEST_CUDA=off
preload="$(gcc -print-file-name=libtsan.so)"
# Its shadow memory wants the addresses where they are without randomisation.
setarch -R env LD_PRELOAD="$preload" \
  python -m pytest -q -p no:cacheprovider tests/test_threads.py "$@" || {
  code=$?
  cat "$logs"/* || true
  exit "$code"
}
