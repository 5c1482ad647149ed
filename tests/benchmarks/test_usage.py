import os
import subprocess
import sys
from pathlib import Path

import pytest

from halnet.benchmarks.usage import open_files, peak_memory, resident_memory

USES_50_MB = """
import mmap
block = mmap.mmap(-1, 50 << 20)
print(flush=True)
input()
for first_byte_of_page in range(0, len(block), mmap.PAGESIZE):
    block[first_byte_of_page] = 1
print(flush=True)
input()
"""


def test_memory_that_is_used_counts() -> None:
    # Another process, because the memory of this one changes at any time.
    command = [sys.executable, "-c", USES_50_MB]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        before = resident_memory(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        used = resident_memory(process.pid) - before
        process.stdin.write(b"\n")
    assert used == pytest.approx(50, abs=5)


def test_open_files_are_counted(tmp_path: Path) -> None:
    before = open_files(os.getpid())
    with (tmp_path / "a").open("wb"), (tmp_path / "b").open("wb"):
        assert open_files(os.getpid()) == before + 2
    assert open_files(os.getpid()) == before


def test_a_process_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        resident_memory(2**30)


def test_the_peak_is_that_of_the_program_not_of_the_one_that_started_it() -> None:
    """This process has more memory than the other one, which has released what it used."""
    used = """
import mmap, os
from halnet.benchmarks.usage import peak_memory, resident_memory
before = peak_memory(os.getpid())
block = mmap.mmap(-1, 50 << 20)
for first_byte_of_page in range(0, len(block), mmap.PAGESIZE):
    block[first_byte_of_page] = 1
block.close()
print(before, peak_memory(os.getpid()), resident_memory(os.getpid()))
"""
    kept = bytearray(b"x" * (300 << 20))
    done = subprocess.run([sys.executable, "-c", used], capture_output=True, text=True, check=True)
    before, peak, after = map(float, done.stdout.split())
    assert len(kept) > 0
    assert before < 100
    assert peak - before == pytest.approx(50, abs=5)
    assert peak - after > 40


def test_the_peak_of_a_process_that_does_not_exist_is_not_known() -> None:
    assert peak_memory(2**30) is None
