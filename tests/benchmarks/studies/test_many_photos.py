import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from halnet.benchmarks.studies import many_photos
from halnet.benchmarks.studies.many_photos import MARKS, MemoryWatch, read_ages
from halnet.benchmarks.studies.processes import wait_until
from halnet.errors import ConfigError


def test_the_memory_of_a_process_is_measured_while_it_grows() -> None:
    program = "data = b'x' * 60_000_000; input()"
    requested = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        watch = MemoryWatch(process)
        wait_until(lambda: watch.peak > 60, process)
        first = time.monotonic()
        usage = watch.stop(requested, first)
        process.communicate(b"\n")
    assert usage.seconds_before == pytest.approx(first - requested)
    assert usage.seconds >= 0
    assert len(usage.memory) == len(MARKS)
    assert 60 < usage.memory[-1] <= usage.peak < 200


def test_a_process_that_ends_at_once_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        with pytest.raises(ConfigError, match="name more photos"):
            MemoryWatch(process).stop(0.0, 0.0)


def test_ages_are_read_by_photo_and_face(tmp_path: Path) -> None:
    path = tmp_path / "ages.csv"
    path.write_text("photo,face,age\nfolder/a.jpg,1,30.5\na.jpg,2,40\nb.jpg,,\n")
    assert read_ages(path) == {("a.jpg", "1"): 30.5, ("a.jpg", "2"): 40.0}


def test_two_ways_are_compared(
    aaf_sample: Path, yunet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways are `halnet predict` here, because the demo needs a browser."""
    monkeypatch.setattr(
        many_photos, "WAYS", dict.fromkeys(("first", "second"), many_photos.predict)
    )
    args = ["--photos", str(aaf_sample / "original images"), "--limit", "3"]
    args += ["--detector", str(yunet)]
    done = CliRunner().invoke(many_photos.main, args, catch_exceptions=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    columns, _, *rows = [line.strip("| ").split(" | ") for line in lines]
    assert [row[0] for row in rows] == ["first", "second"]
    assert all(len(row) == len(columns) for row in rows)
    assert all(float(row[columns.index("largest memory, MB")]) > 50 for row in rows)
    assert "found 3 and 3 faces; 0 faces were found in one way only" in done.stdout
    assert "The largest difference of an age is 0 years." in done.stdout
