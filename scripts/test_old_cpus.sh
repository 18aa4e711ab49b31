#!/usr/bin/env bash
# Runs the smoke test on CPUs of 2008 (Nehalem: no AVX) and 2013 (Haswell: AVX2, no AVX-512), emulated
# by qemu-user (Debian's package of that name), with a Python that has Striate installed.
#
#     scripts/test_old_cpus.sh PYTHON
set -euo pipefail
python=$1
smoke_test="$(dirname "$0")/smoke_test.py"
on() { # CPU COMMAND...; what the emulator lacks itself, and says so, is none of a kernel's
  local cpu=$1
  shift
  qemu-x86_64 -cpu "$cpu" "$@" 2> >(grep -v "TCG doesn't support" >&2)
}

# Were the emulator lenient, nothing below would show anything: vzeroupper, AVX's simplest.
avx='import ctypes, mmap; code = mmap.mmap(-1, 4096, prot=7); code.write(b"\xc5\xf8\x77\xc3")
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()'
on Haswell "$python" -c "$avx"
if on Nehalem "$python" -c "$avx" 2> /dev/null; then
  echo "error: the emulated Nehalem runs AVX instructions"
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
on Nehalem "$python" "$smoke_test" --isa baseline > "$work/baseline" &
on Haswell "$python" "$smoke_test" --isa avx2 > "$work/avx2"
wait $!
cat "$work/baseline" "$work/avx2"
# The weights, too: emulated and real instructions give the same bits.
for isa in baseline avx2; do
  if [ $isa = baseline ] || grep -qw fma /proc/cpuinfo; then
    STRIATE_ISA=$isa "$python" "$smoke_test" > "$work/real"
    diff <(tail -n 1 "$work/$isa") <(tail -n 1 "$work/real")
  else
    echo "this CPU has no AVX2 to compare with"
  fi
done

# AVX2 without FMA is not enough, and AVX-512 is refused where there is none.
isa='from striate import _core; print(_core.isa_name())'
[ "$(on Haswell,-fma "$python" -c "$isa")" = baseline ]
refused=$(STRIATE_ISA=avx512 on Haswell "$python" -m striate info 2>&1) && exit 1
grep "STRIATE_ISA: this CPU and build have no instruction set 'avx512', only baseline, avx2" \
  <<< "$refused"
