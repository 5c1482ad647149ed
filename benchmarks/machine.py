"""The machine: its processor, what it may use of it, its software, and how busy it is."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from halnet import __version__
from halnet.cores import Cores, find_cores
from halnet.packages import installed_version
from halnet.processor import cpu_features, cpu_name, read_values
from halnet.runtimes.backends import BACKENDS

FREQUENCIES = Path("/sys/devices/system/cpu")  # where Linux shows the clock of each core
MEMORY_INFO = Path("/proc/meminfo")
CPU_TIMES = Path("/proc/stat")  # how long the cores worked, and how long they were idle
MAX_LOAD = 0.25  # of the cores: with a higher load, other programs change the times
MAX_OTHERS = 0.05  # of the time of all cores: where other programs use more, times are doubtful
LOAD_INTERVAL = 5.0  # seconds between two looks at the load, which the system changes as often
WAIT_LIMIT = 600.0  # seconds that a busy machine is waited for


@dataclass(frozen=True)
class Machine:
    """What a time depends on and does not change while it is measured."""

    cpu: str  # as the operating system states it
    features: tuple[str, ...]  # names in `processor.FEATURES`
    cores: Cores
    memory: int | None  # megabytes in all; None: not known
    system: str  # operating system, with its version and the architecture
    versions: dict[str, str]  # of Python, halnet and the libraries that run a model


@dataclass(frozen=True)
class Conditions:
    """How busy the machine is, and how fast its clock runs, at one moment."""

    load: float | None  # load average over one minute: programs that run or wait; None: not known
    clock: float | None  # mean clock of the cores in MHz; None: it cannot be read


@dataclass(frozen=True)
class CpuTimes:
    """How long the cores worked, in seconds of one core, since some moment in the past."""

    busy: float  # for all programs
    idle: float
    own: float  # for this program


def find_machine() -> Machine:
    """Return what is known of this machine."""
    libraries = {"numpy": "numpy", "opencv": "cv2"} | {
        name: backend.library
        for name, backend in BACKENDS.items()
        if backend.reads_file and backend.library
    }
    versions = {name: installed_version(module) for name, module in libraries.items()}
    return Machine(
        cpu=cpu_name(),
        features=tuple(cpu_features()),
        cores=find_cores(),
        memory=_memory(),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        versions={
            "python": platform.python_version(),
            "halnet": __version__,
            **{name: number for name, number in versions.items() if number},
        },
    )


def find_conditions() -> Conditions:
    """Return the load and the clock now. What cannot be read is None."""
    try:
        load: float | None = os.getloadavg()[0]
    except OSError:
        load = None
    clocks = list(_clocks())
    return Conditions(load, fmean(clocks) if clocks else None)


def find_cpu_times() -> CpuTimes | None:
    """Return how long the cores worked until now; None where the system does not state it."""
    words = _read(CPU_TIMES).split("\n", maxsplit=1)[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None
    user, nice, system, idle, waiting, *interrupts_and_stolen = map(int, words[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    own = os.times()
    return CpuTimes(
        (user + nice + system + sum(interrupts_and_stolen)) / ticks,
        (idle + waiting) / ticks,
        own.user + own.system,
    )


def share_of_others(first: CpuTimes | None, second: CpuTimes | None) -> float | None:
    """Return the share of the time of all cores that other programs used between two moments.

    It is from 0 to 1, and None where it is not known.
    """
    if first is None or second is None:
        return None
    busy, own = second.busy - first.busy, second.own - first.own
    whole = busy + second.idle - first.idle
    return min(1.0, max(0.0, (busy - own) / whole)) if whole > 0 else None


def describe_load(conditions: Conditions, cores: Cores) -> str:
    """Return one line if other programs keep this machine too busy to be timed, or an empty text.

    The load average counts the whole machine, so it is compared with all of its cores.
    """
    bound = MAX_LOAD * cores.present
    if conditions.load is None or conditions.load <= bound:
        return ""
    return (
        f"the machine is busy: expected a load average of at most {bound:.2f}, which is "
        f"{MAX_LOAD:.0%} of its {cores.present} cores, found {conditions.load:.2f}; end other "
        f"programs (--wait waits for up to {WAIT_LIMIT / 60:.0f} minutes)"
    )


def wait_until_quiet(
    cores: Cores,
    limit: float = WAIT_LIMIT,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Wait until the load is low enough to time something, and return the seconds it took.

    This gives up after `limit` seconds.
    """
    start = clock()
    while describe_load(find_conditions(), cores) and clock() - start < limit:
        sleep(LOAD_INTERVAL)
    return clock() - start


def machine() -> str:
    """Return the processor's name and its instructions for fast integers."""
    return ", ".join([cpu_name(), *cpu_features()])


def _clocks() -> Iterator[float]:
    """Yield the clock of each core in MHz, as far as it can be read."""
    found = [_read(path) for path in FREQUENCIES.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    kilohertz = [float(text) for text in found if text.strip().isdigit()]
    if kilohertz:
        yield from (value / 1000 for value in kilohertz)
        return
    for text in read_values("cpu MHz"):
        yield float(text)


def _memory() -> int | None:
    for line in _read(MEMORY_INFO).splitlines():
        if line.startswith("MemTotal"):
            return int(line.split()[1]) // 1024
    return None


def _read(path: Path) -> str:
    """Return the text of a file; it is empty where there is none, or where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
