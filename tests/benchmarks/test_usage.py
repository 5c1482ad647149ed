import mmap
import os
from pathlib import Path

import pytest

from halnet.benchmarks.usage import open_files, resident_memory


def test_memory_that_is_used_counts() -> None:
    before = resident_memory(os.getpid())
    # A map is always new. An array could take memory that was used and freed before.
    with mmap.mmap(-1, 50 * 2**20) as block:
        block.write(bytes([1]) * len(block))
        assert resident_memory(os.getpid()) - before == pytest.approx(50, abs=10)


def test_open_files_are_counted(tmp_path: Path) -> None:
    before = open_files(os.getpid())
    with (tmp_path / "a").open("wb"), (tmp_path / "b").open("wb"):
        assert open_files(os.getpid()) == before + 2
    assert open_files(os.getpid()) == before


def test_a_process_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        resident_memory(2**30)
