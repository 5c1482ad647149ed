from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from halnet.benchmarks import machine
from halnet.benchmarks.machine import Conditions, CpuTimes
from halnet.cores import Cores

X86 = (
    "model name\t: A CPU\ncpu MHz\t\t: 2000.0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
    "model name\t: A CPU\ncpu MHz\t\t: 3000.0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
)
ARM = "Features\t: fp asimd asimddp i8mm\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the files in which the system describes the machine."""
    monkeypatch.setattr("halnet.processor.CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "FREQUENCIES", tmp_path)
    monkeypatch.setattr(machine, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "CPU_TIMES", tmp_path / "stat")
    return tmp_path


def test_the_name_of_the_machine(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert machine.machine() == "arm", "this system has no such file"
    (files / "cpuinfo").write_text(X86)
    assert machine.machine() == "A CPU, AVX2, AVX-512, VNNI"


def test_the_clock_of_each_core_is_read(files: Path) -> None:
    (files / "cpuinfo").write_text(X86)
    assert machine.find_conditions().clock == 2500.0
    for core, kilohertz in ((0, 1_000_000), (1, 2_000_000)):
        path = files / f"cpu{core}" / "cpufreq" / "scaling_cur_freq"
        path.parent.mkdir(parents=True)
        path.write_text(f"{kilohertz}\n")
    assert machine.find_conditions().clock == 1500.0


def test_without_permission_to_read_clocks_they_are_not_known(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files / "cpu0" / "cpufreq" / "scaling_cur_freq"
    path.parent.mkdir(parents=True)
    path.write_text("1000000")
    read = Path.read_text

    def refuse(self: Path, *args: object, **options: object) -> str:
        if files in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr("os.getloadavg", lambda: (1.5, 1.0, 0.5))
    assert machine.find_conditions() == Conditions(1.5, None)
    found = machine.find_machine()
    assert (found.features, found.memory) == ((), None)


def test_a_system_without_a_load_average(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError

    monkeypatch.setattr("os.getloadavg", refuse)
    assert machine.find_conditions().load is None


def test_what_is_known_of_this_machine(files: Path) -> None:
    (files / "meminfo").write_text("MemTotal:       2048000 kB\nMemFree: 1 kB\n")
    found = machine.find_machine()
    assert found.memory == 2000
    assert {"python", "halnet", "numpy", "opencv"} <= set(found.versions)
    assert "fake" not in found.versions
    assert found.cores.usable >= 1


def test_the_times_of_the_cores(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """User, nice, system, idle, waiting, two kinds of interrupts, stolen by the host, guests."""
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_CLK_TCK": 100}[name])
    monkeypatch.setattr("os.times", lambda: SimpleNamespace(user=1.5, system=0.5))
    assert machine.find_cpu_times() is None, "this system has no such file"
    (files / "stat").write_text(
        "cpu  100 200 300 4000 500 6 7 87 100 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
    )
    assert machine.find_cpu_times() == CpuTimes(busy=7.0, idle=45.0, own=2.0)


@pytest.mark.parametrize(
    ("second", "share"),
    [
        (CpuTimes(14.0, 26.0, 4.0), 0.1),
        (CpuTimes(14.0, 26.0, 9.0), 0.0),  # the two are not read at exactly the same moment
        (CpuTimes(10.0, 20.0, 1.0), None),
        (None, None),
    ],
)
def test_the_share_of_other_programs(second: CpuTimes | None, share: float | None) -> None:
    """The cores worked for 4 of 10 seconds, 3 of them for this program."""
    found = machine.share_of_others(CpuTimes(10.0, 20.0, 1.0), second)
    assert found == (share if share is None else pytest.approx(share))
    assert machine.share_of_others(None, second) is None


BUSY = (
    "the machine is busy: expected a load average of at most 2.00, which is 25% of its 8 cores, "
    "found 2.50; end other programs (--wait waits for up to 10 minutes)"
)


@pytest.mark.parametrize(("load", "line"), [(2.5, BUSY), (2.0, ""), (0.0, ""), (None, "")])
def test_a_busy_machine_is_one_line(load: float | None, line: str) -> None:
    """The load is that of the whole machine, of which this process may use two cores."""
    assert machine.describe_load(Conditions(load, None), Cores(2, 8, "the CPU affinity")) == line


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], None]:
    """A function that sets the next load averages; the last one stays."""

    def set_loads(values: list[float]) -> None:
        def find() -> Conditions:
            return Conditions(values.pop(0) if len(values) > 1 else values[0], None)

        monkeypatch.setattr(machine, "find_conditions", find)

    return set_loads


class Time:
    """A clock that only sleeping moves."""

    now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_busy_machine_is_waited_for(loads: Callable[[list[float]], None]) -> None:
    loads([9.0, 5.0, 0.1])
    time = Time()
    assert machine.wait_until_quiet(Cores(2, 2), 600, time.sleep, time.clock) == 10


def test_a_machine_that_stays_busy_is_not_waited_for_for_ever(
    loads: Callable[[list[float]], None],
) -> None:
    loads([9.0])
    time = Time()
    assert 60 <= machine.wait_until_quiet(Cores(2, 2), 60, time.sleep, time.clock) <= 65
