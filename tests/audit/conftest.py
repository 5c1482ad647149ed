"""What the tests of the audit report use."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from halnet.audit.measure import make_report
from halnet.audit.report import AuditReport
from halnet.evaluation.accuracy import EvaluateConfig
from halnet.evaluation.predictions import Predictions
from halnet.runtimes.base import RuntimeOptions

MakePredictions = Callable[..., Predictions]


@pytest.fixture
def make_predictions() -> MakePredictions:
    """A function that returns predictions for labels (an age or a range) and predicted ages.

    An interval reaches `reach` years to both sides of the predicted age.
    """

    def make(
        labels: Sequence[float | tuple[float, float]],
        age: Sequence[float],
        reach: float = 5.0,
        *,
        sex: Sequence[str] = (),
        groups: Mapping[str, tuple[str, ...]] | None = None,
        dataset: Sequence[str] = (),
    ) -> Predictions:
        ends = [label if isinstance(label, tuple) else (label, label) for label in labels]
        centre = np.array(age, float)
        return Predictions(
            source=tuple(map(str, range(len(ends)))),
            sex=tuple(sex) or ("",) * len(ends),
            label_low=np.array([low for low, _ in ends], float),
            label_high=np.array([high for _, high in ends], float),
            age=centre,
            stddev=np.ones(len(ends)),
            low=centre - reach,
            high=centre + reach,
            adult=np.ones(len(ends)),
            dataset=tuple(dataset) or ("",) * len(ends),
            groups=groups or {},
        )

    return make


@pytest.fixture(scope="session")
def fake_folder(make_prepared_folder: Callable[..., Path]) -> Path:
    """A dataset with 240 test photos of ages 10 to 69, four of each."""
    return make_prepared_folder(600, "first", shares="40/20/40")


@pytest.fixture(scope="session")
def fake_report(fake_folder: Path) -> AuditReport:
    """The report of the fake runtime on `fake_folder`."""
    options = RuntimeOptions(runtime="fake")
    config = EvaluateConfig((fake_folder,), Path("fake"), options=options)
    return make_report(config, "halnet report fake", steady=24)
