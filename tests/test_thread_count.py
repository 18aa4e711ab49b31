"""How many threads, and why: affinity, control groups, OMP_NUM_THREADS, threadpoolctl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from test_parallel import COMPILER, ROOT

SHOW = "import striate; print(striate.get_num_threads(), striate._core.num_threads_reason())"


UNCHOSEN = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}


def python(code: str, *command: str, **environment: str) -> str:
    """What ``code`` prints, in a process whose environment chooses no threads."""
    answer = subprocess.run(
        [*command, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**UNCHOSEN, **environment},
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")
def test_the_affinity_mask() -> None:
    core = str(min(os.sched_getaffinity(0)))
    alone = python(SHOW, "taskset", "-c", core)
    assert alone == "1 1 core in the affinity mask"
    info = python("from striate.cli import main; main(['info'])", "taskset", "-c", core)
    assert "1: 1 core in the affinity mask\n" in info
    # OMP_NUM_THREADS is a wish, and stands above what is there.
    assert python(SHOW, "taskset", "-c", core, OMP_NUM_THREADS="3") == "3 OMP_NUM_THREADS"


@pytest.mark.parametrize(
    ("text", "threads"),
    [("3", 3), ("4,2", 4), ("  8 ", 8), ("\t2 , 1", 2), ("5000", 1024)],
)
def test_omp_num_threads(text: str, threads: int) -> None:
    assert python(SHOW, OMP_NUM_THREADS=text) == f"{threads} OMP_NUM_THREADS"


@pytest.mark.parametrize(
    "text", ["0", "-3", "abc", "8 threads", "2.5", ",2", " ", "99999999999999999999"]
)
def test_an_omp_num_threads_that_is_no_number_is_said_and_not_obeyed(text: str) -> None:
    answer = python(SHOW, OMP_NUM_THREADS=text)
    assert answer == f"{python(SHOW)} (OMP_NUM_THREADS='{text}' is no number of threads)"


# --- control groups: trees of files, and the cores that they grant --------------------------------

V2 = "26 22 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "33 31 0:30 {folder} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)
HERE = "sys/fs/cgroup"
V1_HERE = f"{HERE}/cpu,cpuacct"
NONE = 1 << 20


def v2(limits: dict[str, str], group: str = "0::/a/b\n") -> dict[str, str]:
    files = {f"{HERE}{folder}/cpu.max": text for folder, text in limits.items()}
    return {"proc/self/mountinfo": V2, "proc/self/cgroup": group, **files}


def v1(limits: dict[str, tuple[str, str]], group: str, folder: str = "/") -> dict[str, str]:
    files = {"proc/self/mountinfo": V1.format(folder=folder), "proc/self/cgroup": group}
    for place, (quota, period) in limits.items():
        files[f"{V1_HERE}{place}/cpu.cfs_quota_us"] = quota
        files[f"{V1_HERE}{place}/cpu.cfs_period_us"] = period
    return files


CGROUPS: dict[str, tuple[dict[str, str], int]] = {
    "nothing is there": ({}, NONE),
    "a container with a namespace": (v2({"": "150000 100000\n"}, "0::/\n"), 2),
    "exactly two": (v2({"": "200000 100000\n"}, "0::/\n"), 2),
    "less than one": (v2({"": "1000 100000\n"}, "0::/\n"), 1),
    "no limit": (v2({"": "max 100000\n", "/a/b": "max 100000\n"}), NONE),
    "its own group": (v2({"/a/b": "300000 100000\n", "/a": "max 100000\n"}), 3),
    "the group around it": (v2({"/a/b": "max 100000\n", "/a": "300000 100000\n"}), 3),
    "the tightest of all": (v2({"/a/b": "400000 100000\n", "/a": "50000 25000\n"}), 2),
    "not a group beside it": (v2({"/a/c": "100000 100000\n", "/a/b/c": "100000 100000\n"}), NONE),
    "a path from outside the namespace": (v2({"": "200000 100000\n"}, "0::/../../x\n"), 2),
    "a path without end": (v2({"": "200000 100000\n"}, "0::" + "/x" * 2000 + "\n"), 2),
    "v1": (v1({"/a": ("250000\n", "100000\n")}, "4:cpu,cpuacct:/a\n0::/z\n"), 3),
    "v1 without a limit": (v1({"/a": ("-1\n", "100000\n")}, "4:cpu,cpuacct:/a\n"), NONE),
    "v1, the group around it": (v1({"": ("50000\n", "25000\n")}, "4:cpuacct,cpu:/a/b\n"), 2),
    "v1, a container's folder mounted": (
        v1({"": ("200000\n", "100000\n")}, "4:cpu,cpuacct:/docker/f00\n", "/docker/f00"),
        2,
    ),
    "v1, a group in such a container": (
        v1({"/in": ("100000\n", "100000\n")}, "4:cpu,cpuacct:/docker/f00/in\n", "/docker/f00"),
        1,
    ),
    "v1, a folder whose name begins alike": (
        v1(
            {"": ("200000\n", "100000\n"), "1": ("1\n", "1\n")},
            "4:cpu:/docker/f001\n",
            "/docker/f00",
        ),
        2,
    ),
    "another v1 hierarchy": (v1({"/a": ("100000\n", "100000\n")}, "3:cpuset:/a\n"), NONE),
}
CGROUPS |= {
    f"garbage: {text!r}": (v2({"": text, "/a": "300000 100000\n"}), 3)
    for text in [
        "", "\n", "100000", "100000 0\n", "0 100000\n", "-100000 100000\n", "100000 -100000\n",
        "99999999999999999999 1\n", "1 99999999999999999999\n", "100000x 100000\n", "1e3 100000\n",
        "0x10 1\n", "\0\0\0\0", "minimum 100000\n",
    ]
}  # fmt: skip
CGROUPS |= {
    "more than any machine has": (v2({"": "9223372036854775807 1\n"}, "0::/\n"), NONE),
    "an endless period": (v2({"": "9223372036854775807 9223372036854775807\n"}, "0::/\n"), 1),
    "tables without sense": (
        {"proc/self/mountinfo": " - cgroup2\n-\n\n - \n" + V2, "proc/self/cgroup": "::\n:\n0\n\n"},
        NONE,
    ),
    "no table of groups": ({**v2({"": "200000 100000\n"}), "proc/self/cgroup": ""}, 2),
}


def compiled(program: Path, *sources: str) -> Path:
    if COMPILER is None:
        pytest.skip("needs a C++ compiler")
    flags = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-Icpp", "-pthread"]
    subprocess.run([COMPILER, *flags, *sources, "-o", str(program)], cwd=ROOT, check=True)
    return program


@pytest.fixture(scope="module")
def cgroup_cores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cgroup")
    return compiled(folder / "cgroup", "tests/cgroup.cc", "cpp/cpu/cgroup.cc")


@pytest.mark.parametrize("case", CGROUPS)
def test_control_groups(case: str, cgroup_cores: Path, tmp_path: Path) -> None:
    files, cores = CGROUPS[case]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    answer = subprocess.run([str(cgroup_cores), str(tmp_path)], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (0, f"{cores}\n")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="needs two cores")
def test_a_quota_is_the_default(tmp_path: Path) -> None:
    sources = ("tests/quota.cc", "cpp/cpu/parallel.cc", "cpp/cpu/threads/team.cc")
    program = compiled(tmp_path / "quota", *sources)
    answer = subprocess.run([str(program)], capture_output=True, text=True, env=UNCHOSEN)
    cores = len(os.sched_getaffinity(0))
    assert answer.stdout == f"1 {cores} cores in the affinity mask, cut by the cgroup's CPU quota\n"


# --- threadpoolctl --------------------------------------------------------------------------------

IMPORTS = {
    "striate first": "import striate, threadpoolctl",
    "threadpoolctl first": "import threadpoolctl, striate",
    "after it was asked": "import threadpoolctl; threadpoolctl.threadpool_info(); import striate",
    "after it failed": """
import sys, striate
sys.modules["ctypes"] = None
try:
    import threadpoolctl
except ImportError:
    del sys.modules["ctypes"]
else:
    raise AssertionError
import threadpoolctl
""",
}


@pytest.mark.parametrize("order", IMPORTS)
def test_threadpoolctl_sees_and_limits_the_threads(order: str) -> None:
    pytest.importorskip("threadpoolctl")
    python(f"""
import importlib.machinery, sys
before = list(sys.meta_path)
{IMPORTS[order]}
assert sys.meta_path == before, "the finder is gone"
assert isinstance(threadpoolctl.__spec__.loader, importlib.machinery.SourceFileLoader)
assert threadpoolctl.__loader__ is threadpoolctl.__spec__.loader
striate.set_num_threads(3)
(ours,) = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "striate"]
assert ours["num_threads"] == 3 and ours["version"] == striate.__version__, ours
with threadpoolctl.threadpool_limits(1):
    assert striate.get_num_threads() == 1
    with threadpoolctl.threadpool_limits({{"striate": 2}}):
        assert striate.get_num_threads() == 2
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert striate.get_num_threads() == 1
    with threadpoolctl.threadpool_limits(10**6):
        assert striate.get_num_threads() == 1024
assert striate.get_num_threads() == 3
""")


def test_without_threadpoolctl_nothing_changes() -> None:
    """An import that finds nothing says so as ever, and the finder goes on waiting."""
    python("""
import importlib.util, sys
import striate
sys.path[:] = []
sys.path_importer_cache.clear()
assert importlib.util.find_spec("threadpoolctl") is None
try:
    import threadpoolctl
except ModuleNotFoundError as error:
    assert str(error) == "No module named 'threadpoolctl'" and error.name == "threadpoolctl"
else:
    raise AssertionError
""")
