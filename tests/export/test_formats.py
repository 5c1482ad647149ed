from pathlib import Path

import pytest

from halnet.artifact import PRECISIONS
from halnet.calibration.quantizer import SCHEMES
from halnet.export import formats
from halnet.export.formats import FORMATS
from halnet.export.int8 import AGE_FUNCTIONS
from halnet.runtimes.backends import BACKENDS, ELSEWHERE


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_can_be_written_checked_and_quantized(name: str) -> None:
    line = FORMATS[name]
    assert set(line.file_names) <= set(PRECISIONS)
    endings = tuple(ELSEWHERE) if line.runtime == "auto" else BACKENDS[line.runtime].endings
    assert all(path.endswith(endings) for path in line.file_names.values())
    if line.quantizer == "int8":
        assert line.budget_runtime in AGE_FUNCTIONS
        assert line.scheme in SCHEMES
    for file in (line.module, line.tracer, line.quantizer):
        assert Path(formats.__file__).with_name(f"{file}.py").exists()


def test_no_two_artifacts_have_the_same_name() -> None:
    names = [path for line in FORMATS.values() for path in line.file_names.values()]
    assert len(set(names)) == len(names)


def test_the_precisions_are_those_of_all_formats() -> None:
    assert set(formats.PRECISIONS) == set(PRECISIONS)
