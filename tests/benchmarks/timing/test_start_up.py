"""Processes of their own: small programs in the place of models, and one real model."""

import sys
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.benchmarks.timing.start_up import StartUp, measure_starts, start_command
from halnet.runtimes.base import RuntimeOptions


def program(code: str) -> list[str]:
    return [sys.executable, "-c", code]


class Clock:
    """A clock that is 1 second further at each look."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_the_medians_of_several_starts(tmp_path: Path) -> None:
    """The program states 100, 102 and 900 MB in turn."""
    count = (
        "import pathlib, sys; p = pathlib.Path(sys.argv[1]); "
        "n = int(p.read_text()) if p.exists() else 0; p.write_text(str(n + 1)); "
        "print(33.3, flush=True); print([100, 102, 900][n])"
    )
    (found,) = measure_starts([[*program(count), str(tmp_path / "count")]], 3, Clock())
    assert found == StartUp(1.0, 102.0, 3)


def test_programs_are_started_in_turns(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    write = f"open({str(diary)!r}, 'a').write(__import__('sys').argv[1]); print(1); print(2)"
    found = measure_starts([[*program(write), "a"], [*program(write), "b"]], 2)
    assert diary.read_text() == "abab"
    assert [start.memory for start in found] == [2.0, 2.0]


def test_a_program_that_fails_is_started_once(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    fail = (
        f"open({str(diary)!r}, 'a').write('x'); import sys; "
        "print('x' * 100_000, file=sys.stderr); sys.exit('no such model')"
    )
    (found,) = measure_starts([program(fail)], 3)
    assert found == StartUp(None, None, 1, "its process ended with 1: no such model")
    assert diary.read_text() == "x"


def test_a_program_that_prints_nothing_has_failed() -> None:
    (found,) = measure_starts([program("")], 1)
    assert found.problem == "its process ended with 0: no message"


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halnet.benchmarks.timing.start_up.LIMIT", 0.5)
    (found,) = measure_starts([program("import time; time.sleep(60)")], 1)
    assert found.seconds is None
    assert found.problem.startswith("its process ended with -9")


def test_memory_that_the_system_does_not_state_is_not_known() -> None:
    (found,) = measure_starts([program("print(1); print('unknown')")], 2, Clock())
    assert found == StartUp(1.0, None, 2)


def test_a_model_in_a_process_of_its_own() -> None:
    pytest.importorskip("onnxruntime")
    options = RuntimeOptions("onnxruntime", threads=1)
    missing = start_command(Path("missing.onnx"), options, 1)
    found, failed = measure_starts([start_command(bundled("halnet.onnx"), options, 2), missing], 1)
    assert found.seconds is not None
    assert found.memory is None or 50 < found.memory < 1000, "megabytes"
    assert failed.problem.startswith("its process ended with 1: missing.onnx: no such model file")
