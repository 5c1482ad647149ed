import subprocess
import sys

import pytest

# It writes 32 MB twenty times. By default, glibc requests new pages each time.
PROGRAM = """
import ctypes, resource, sys
from halnet.training.memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = libc.free.argtypes = [ctypes.c_size_t]
libc.memset.argtypes = [ctypes.c_size_t, ctypes.c_int, ctypes.c_size_t]

def use():
    address = libc.malloc(32 << 20)
    libc.memset(address, 1, 32 << 20)
    libc.free(address)

if sys.argv[1] == "keep":
    assert keep_freed_memory()
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc on Linux has mallopt")
def test_freed_memory_is_used_again_without_new_pages() -> None:
    faults = {}
    for mode in ("default", "keep"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
        )
        faults[mode] = int(done.stdout)
    assert faults["keep"] < 10 < faults["default"]
