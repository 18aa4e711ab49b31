"""scripts/check_isa.py on small objects: what each instruction set may hold, and show."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")

pytestmark = pytest.mark.skipif(
    COMPILER is None or shutil.which("objdump") is None or platform.machine() != "x86_64",
    reason="needs x86-64, a C++ compiler and objdump",
)

ADD = "void add(float* y, const float* x) { for (int i = 0; i < 512; ++i) y[i] += x[i]; }\n"
KERNELS = f"""
namespace {{ {ADD} }}
namespace striate::cpu::ISA {{ extern void (*const kernels)(float*, const float*) = add; }}
"""
FLAGS = {"baseline": (), "avx2": ("-mavx2", "-mfma"), "avx512": ("-mavx512f",)}


def compile_object(path: Path, code: str, *flags: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [str(COMPILER), "-std=c++20", "-O3", "-c", "-x", "c++", "-", "-o", str(path), *flags]
    subprocess.run(command, input=code, text=True, check=True)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build in order: the kernels of each instruction set, and an object for every CPU."""
    build = tmp_path_factory.mktemp("good")
    for isa, flags in FLAGS.items():
        code = KERNELS.replace("ISA", isa)
        compile_object(build / f"striate_kernels_{isa}.dir/table.cc.o", code, *flags)
    compile_object(build / "striate_cpu.dir/add.cc.o", ADD)
    return build


@pytest.fixture
def build(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "build")


def check(build: Path) -> tuple[int, list[str]]:
    """The status, and the lines that tell of faults."""
    command = [sys.executable, str(ROOT / "scripts/check_isa.py"), str(build)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return answer.returncode, [line for line in answer.stdout.splitlines() if "looked" not in line]


def test_a_build_in_order(build: Path) -> None:
    assert check(build) == (0, [])


@pytest.mark.parametrize(
    ("code", "flags", "instruction"),
    [
        (ADD, "-mavx", "vmov"),
        (ADD, "-mavx512f", "vmov"),
        ("float add(float a, float b, float c) { return a * b + c; }", "-mfma", "vfmadd"),
        ("unsigned long add(unsigned long x, int n) { return x << n; }", "-mbmi2", "shlx"),
        ("int add(unsigned x) { return __builtin_popcount(x); }", "-mpopcnt", "popcnt"),
        ("int add(unsigned x) { return __builtin_clz(x); }", "-mlzcnt", "lzcnt"),
        ("using V [[gnu::vector_size(16)]] = float; V x; void add() "
         "{ x = __builtin_ia32_haddps(x, x); }", "-msse3", "haddps"),
        ("using V [[gnu::vector_size(16)]] = int; V x, y; void add() { x = x < y ? x : y; }",
         "-msse4.1", "pmin"),
        ("using V [[gnu::vector_size(16)]] = char; V x; void add() "
         "{ x = __builtin_ia32_pshufb128(x, x); }", "-mssse3", "pshufb"),
    ],
)  # fmt: skip
def test_an_instruction_that_an_old_cpu_lacks(
    build: Path, code: str, flags: str, instruction: str
) -> None:
    compile_object(build / "striate_cpu.dir/new.cc.o", code, flags)
    status, lines = check(build)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"error: striate_cpu.dir/new.cc.o: not baseline's: {instruction}")
    assert " in add" in lines[0]


def test_zeros_are_counted_by_an_instruction_that_is_always_there(build: Path) -> None:
    """`rep bsf` is tzcnt where there is one."""
    compile_object(build / "striate_cpu.dir/new.cc.o", "int f(int x) { return __builtin_ctz(x); }")
    assert check(build) == (0, [])


@pytest.mark.parametrize("flags", ["-mavx512f", "-mlzcnt -mavx2"])
def test_more_than_avx2_in_its_kernels(build: Path, flags: str) -> None:
    code = KERNELS.replace("ISA", "avx2")
    code += "namespace { int zeros(int x) { return __builtin_clz(x); } }\n"
    code += "namespace striate::cpu::avx2 { static auto* const volatile kept = zeros; }\n"
    code += "static int used = striate::cpu::avx2::kept(7);\n"
    path = build / "striate_kernels_avx2.dir/table.cc.o"
    compile_object(path, code, *flags.split(), "-mprefer-vector-width=512")
    status, lines = check(build)
    assert status == 1
    assert "error: striate_kernels_avx2.dir/table.cc.o: not avx2's: " in lines[0]


def test_kernels_that_show_a_helper(build: Path) -> None:
    code = KERNELS.replace("ISA", "avx512") + ADD.replace("add", "helper")
    compile_object(build / "striate_kernels_avx512.dir/table.cc.o", code, "-mavx512f")
    assert check(build) == (
        1,
        ["error: striate_kernels_avx512.dir/table.cc.o: shows more than its table: "
         "helper(float*, float const*)"],
    )  # fmt: skip


def test_a_folder_without_kernels_is_no_success(tmp_path: Path) -> None:
    status, lines = check(tmp_path)
    assert status == 1
    assert "there are no objects of micro-kernels" in lines[0]
