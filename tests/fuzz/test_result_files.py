from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halnet.ages import AgeCalibration
from halnet.batches import PhotoResult
from halnet.result_files import ResultFile, to_csv, to_entry
from halnet.results import Face

LEVEL, MODEL = 0.9, "0123456789ab fp32"


@pytest.fixture(scope="module")
def results() -> list[PhotoResult]:
    landmarks, calibration = np.zeros((5, 2), np.float32), AgeCalibration(1.0, (1.0,) * 99)
    probabilities = np.full(101, 1 / 101, np.float32)
    box = (1.0, 2.0, 30.0, 40.0)
    faces = [Face(age, 8.5, probabilities, box, landmarks, 0.9, calibration) for age in (31.5, 7.0)]
    return [
        PhotoResult("folder/a.jpg", faces),
        PhotoResult("b\udcff.jpg", [], "the file is empty"),
        PhotoResult("video.mp4", faces[:1], time=0.5),
        PhotoResult("c\r\n.jpg", faces[1:]),
    ]


@given(data=st.data())
def test_csv_files_to_resume(data: Any, fuzz: Any, results: list[PhotoResult]) -> None:
    resume(data.draw(fuzz.csv(to_csv(results, LEVEL, MODEL))), "csv", fuzz, results)


@given(data=st.data())
def test_json_lines_files_to_resume(data: Any, fuzz: Any, results: list[PhotoResult]) -> None:
    entries = [to_entry(result, LEVEL, MODEL) for result in results]
    lines = [data.draw(fuzz.json(entry)) for entry in entries[: data.draw(st.integers(1, 4))]]
    resume(b"".join(line + b"\n" for line in lines), "jsonl", fuzz, results)


def resume(content: bytes, kind: str, fuzz: Any, results: list[PhotoResult]) -> None:
    """Continue a file, and if this works, continue it a second time, which must work then."""
    path = fuzz.folder / f"ages.{kind}"
    path.write_bytes(content)
    done = None
    with fuzz.only_own_errors(), ResultFile(path, kind, LEVEL, MODEL, resume=True) as file:
        for result in results:
            file.write(result)
        done = file.done
    if done is not None:
        with ResultFile(path, kind, LEVEL, MODEL, resume=True) as file:
            assert len(done - file.done) <= 1  # the last photo is always predicted again
