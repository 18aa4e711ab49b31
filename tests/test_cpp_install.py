"""striate::cpu for C++ programs: installed without Python, found, linked, run."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import striate.functional as F
from checks import draw

ROOT = Path(__file__).parents[1]
HEADERS = sorted(path.name for path in (ROOT / "cpp/include/striate").glob("*.h"))
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
TOOLS = shutil.which("cmake") is not None and COMPILER is not None

pytestmark = [
    pytest.mark.slow,  # compiles the library once, without the bindings: 20 s
    pytest.mark.skipif(
        not TOOLS and not os.environ.get("STRIATE_REQUIRE_PARITY"),
        reason="needs cmake and a C++ compiler",
    ),
]


def run(*command: object, **environment: str) -> str:
    answer = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
        timeout=500,
    )
    assert answer.returncode == 0, answer.stdout
    return answer.stdout


def configure(source: Path, build: Path, *options: str) -> str:
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    return run("cmake", "-S", source, "-B", build, *generator, *options)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the library was installed, by nothing but CMake and a compiler."""
    build, prefix = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("prefix")
    configure(ROOT, build, "-DSTRIATE_WERROR=ON")
    run("cmake", "--build", build, "--parallel", "2")
    run("cmake", "--install", build, "--prefix", prefix)
    return prefix


def test_what_is_installed(prefix: Path) -> None:
    files = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()}
    (archive,) = [name for name in files if name.endswith("/libstriate_cpu.a")]
    package = f"{Path(archive).parent}/cmake/striate/striate"
    assert files == {
        archive,
        *(f"include/striate/{name}" for name in HEADERS),
        *(f"{package}{end}.cmake" for end in ("Config", "ConfigVersion", "Targets")),
        f"{package}Targets-release.cmake",
    }


@pytest.mark.parametrize("header", HEADERS)
def test_header_compiles_alone(prefix: Path, tmp_path: Path, header: str) -> None:
    source = tmp_path / "alone.cc"
    source.write_text(f'#include "striate/{header}"\n')
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    run(COMPILER, *flags, "-I", prefix / "include", source)


EXAMPLE = """\
convolution
  2 -1  0  1 -1
  3 -2  1  0 -1
  3 -2  0  0 -1
  3 -2  0 -1  0
  2 -1 -1  0  0
ReLU and max pooling
  3  1
  3  0
"""


def test_example(prefix: Path, tmp_path: Path) -> None:
    warnings = "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"
    configure(ROOT / "examples/cpp", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}", warnings)
    run("cmake", "--build", tmp_path)
    for isa in ("", "baseline"):
        assert run(tmp_path / "edges", STRIATE_ISA=isa) == EXAMPLE
    assert len((ROOT / "examples/cpp/main.cc").read_text().splitlines()) < 50


def test_linear_on_packed_weights(prefix: Path, tmp_path: Path) -> None:
    """What no binding shows: its header is internal, its symbols are hidden but in the archive."""
    (archive,) = prefix.rglob("libstriate_cpu.a")
    include = ["-I", ROOT / "cpp", "-I", ROOT / "cpp/include"]
    source, program = ROOT / "tests/linear_prepared.cc", tmp_path / "linear_prepared"
    run(COMPILER, "-std=c++20", "-O2", *include, source, archive, "-pthread", "-o", program)
    assert run(program) == "right\n"


PROJECT = """
cmake_minimum_required(VERSION 3.26)
project(consumer LANGUAGES CXX)
find_package(striate {version} REQUIRED)
add_library(filter SHARED filter.cc)
target_link_libraries(filter PRIVATE striate::cpu)
"""
FILTER = """
#include "striate/linear.h"
extern "C" void filter(float* y, const float* x, const float* w, int n, int c, int k) {
  striate::cpu::linear_forward(y, x, w, nullptr, {n, c, k});
}
"""


def project_version() -> str:
    found = re.search(r'^version = "([\d.]+)', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_shared_library_around_it(prefix: Path, tmp_path: Path) -> None:
    """It links (position-independent code), computes, and shows no symbols but its own."""
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(version=project_version()))
    (tmp_path / "filter.cc").write_text(FILTER)
    configure(tmp_path, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "build")
    (file,) = (tmp_path / "build").glob("libfilter.*")

    library = ctypes.CDLL(str(file))
    x, w = draw("cpp_install/x", (3, 50)), draw("cpp_install/w", (7, 50))
    y = np.empty((3, 7), np.float32)
    library.filter(*(ctypes.c_void_p(a.ctypes.data) for a in (y, x, w)), 3, 50, 7)
    np.testing.assert_array_equal(y, F.linear(x, w))

    symbol = "_ZN7striate3cpu14linear_forwardEPfPKfS3_S3_RKNS_11LinearShapeE"
    (archive,) = prefix.rglob("libstriate_cpu.a")
    assert symbol.encode() in archive.read_bytes()
    assert not hasattr(library, symbol)


def test_another_version_is_refused(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(version="99.0"))
    (tmp_path / "filter.cc").write_text(FILTER)
    with pytest.raises(AssertionError, match=f"version: {re.escape(project_version())}"):
        configure(tmp_path, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")


def test_as_part_of_another_build(tmp_path: Path) -> None:
    """add_subdirectory, which FetchContent calls: the target is there, and nothing to install."""
    (tmp_path / "CMakeLists.txt").write_text(f"""
cmake_minimum_required(VERSION 3.26)
project(consumer LANGUAGES CXX)
add_subdirectory({ROOT.as_posix()} striate)
add_library(filter SHARED filter.cc)
target_link_libraries(filter PRIVATE striate::cpu)
""")
    (tmp_path / "filter.cc").write_text(FILTER)
    configure(tmp_path, tmp_path / "build")
    run("cmake", "--install", tmp_path / "build", "--prefix", tmp_path / "prefix")
    assert not list((tmp_path / "prefix").rglob("*.h"))
