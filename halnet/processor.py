"""The processor: its name, and the instructions for fast integers that it has."""

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")  # where Linux describes each core
# Instructions for fast integers: name, and its flags in CPU_INFO of x86 and Arm.
FEATURES = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "AMX": {"amx_int8"},
    "dot product": {"asimddp"},
    "I8MM": {"i8mm"},
}
# Instructions that add products of 8-bit integers in 32 bits, so that no sum saturates.
EXACT = {"VNNI", "AMX"}  # of x86


def read_values(name: str) -> list[str]:
    """Return the values of a name in `CPU_INFO`, one for each core; none if it cannot be read."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith(name)]


def cpu_name() -> str:
    """Return the processor's name as the operating system states it."""
    return next(iter(read_values("model name")), "") or platform.processor() or platform.machine()


def cpu_flags() -> set[str]:
    """Return the processor's features as Linux names them; empty on another system."""
    stated = [*read_values("flags"), *read_values("Features")]
    return {flag for line in stated for flag in line.split()}


def cpu_features() -> list[str]:
    """Return the processor's instructions for fast integers, as names in `FEATURES`."""
    flags = cpu_flags()
    return [name for name, known in FEATURES.items() if known & flags]


def adds_8_bit_products_exactly() -> bool | None:
    """Return whether sums of products of 8-bit integers are exact; None: it is not known.

    x86 without VNNI adds two products in 16 bits, and 255 * 127 * 2 is too large for them. Arm has
    other instructions, which do not.
    """
    if read_values("Features"):  # so Linux begins this line on Arm
        return True
    return bool(set(cpu_features()) & EXACT) if cpu_flags() else None
