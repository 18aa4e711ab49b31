#!/usr/bin/env bash
# The micro-kernels of each instruction set may show the linker nothing but their own table: a shared
# helper could be merged with another set's copy, and an old CPU would meet an AVX-512 instruction.
#
#     scripts/check_isa_symbols.sh BUILD_FOLDER
set -euo pipefail
status=0
for object in "$1"/CMakeFiles/striate_kernels_*.dir/cpp/cpu/kernels/*.o; do
  isa=${object#*striate_kernels_}
  isa=${isa%%.dir*}
  others=$(nm --defined-only --extern-only -C "$object" | cut -d' ' -f3- |
    grep -v "^striate::cpu::$isa::kernels$" || true)
  if [ -n "$others" ]; then
    printf '%s defines more than its table:\n%s\n' "$object" "$others"
    status=1
  fi
done
exit $status
