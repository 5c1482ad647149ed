"""Cores: affinity and CPU quotas, in folders that look like those of Linux."""

import math
import os
from pathlib import Path

import pytest

from halnet import cores
from halnet.cores import Cores, describe_threads, find_cores, thread_count
from halnet.errors import ConfigError

AFFINITY = "the CPU affinity"
QUOTA = "the CPU quota of the control group"


@pytest.fixture(autouse=True)
def eight_of_64_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 cores, on 8 of which this process may run."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "_count_affinity", lambda: 8)


def make_groups(root: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Write the files of control groups, and the list of those of this process."""
    for name, text in {**files, "membership": membership}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root, root / "membership"


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert find_cores(*make_groups(tmp_path, "0::/\n", {})) == Cores(8, 64, AFFINITY)
    assert find_cores(tmp_path / "no", tmp_path / "no") == Cores(8, 64, AFFINITY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000 100000\n", Cores(2, 64, QUOTA)),
        ("150000 100000\n", Cores(2, 64, QUOTA)),  # rounded up
        ("10000 100000\n", Cores(1, 64, QUOTA)),
        ("max 100000\n", Cores(8, 64, AFFINITY)),
        ("1600000 100000\n", Cores(8, 64, AFFINITY)),  # 16 cores are no limit for 8
        ("damaged\n", Cores(8, 64, AFFINITY)),
    ],
)
def test_quotas_of_version_2(text: str, expected: Cores, tmp_path: Path) -> None:
    assert find_cores(*make_groups(tmp_path, "0::/\n", {"cpu.max": text})) == expected


@pytest.mark.parametrize(("quota", "usable"), [("300000", 3), ("-1", 8)])
def test_quotas_of_version_1(quota: str, usable: int, tmp_path: Path) -> None:
    """Inside a container, the path of the group is that of the host."""
    files = {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"}
    groups = make_groups(tmp_path, "5:devices:/\n3:cpu,cpuacct:/docker/1f\n0::/\n", files)
    assert find_cores(*groups).usable == usable


def test_the_lowest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "cpu.max": "max 100000",
        "a.slice/cpu.max": "400000 100000",
        "a.slice/b.service/cpu.max": "600000 100000",
        "a.slice/other/cpu.max": "100000 100000",
    }
    assert find_cores(*make_groups(tmp_path, "0::/a.slice/b.service\n", files)).usable == 4


def test_the_text_says_how_many_threads_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_find_quota", lambda groups, membership: 2.0)
    assert describe_threads() == f"2 threads, because {QUOTA} allows 2 of 64 cores"
    assert describe_threads(5) == "5 threads, as requested"
    assert (thread_count(None), thread_count(5)) == (2, 5)
    monkeypatch.setattr(cores, "_find_quota", lambda groups, membership: math.inf)
    monkeypatch.setattr(cores, "_count_affinity", lambda: 64)
    assert describe_threads() == "64 threads, one for each core"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_pinned_process_uses_the_cores_that_it_is_pinned_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert find_cores().usable == thread_count(None) == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**6])
def test_a_number_of_threads_that_would_stop_the_machine_is_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match=f"^threads: expected 1 to 1024, found {threads}$"):
        thread_count(threads)
    assert thread_count(1024) == 1024
