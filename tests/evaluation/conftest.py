"""What the tests of several modules of the evaluation use."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from halnet.evaluation.predictions import Predictions

MakePredictions = Callable[..., Predictions]


@pytest.fixture
def make_predictions() -> MakePredictions:
    """A function that returns predictions for labels, predicted ages and intervals.

    A label is an age or a range (lowest age, highest age). An interval reaches `reach` years to
    both sides of the predicted age.
    """

    def make(
        labels: Sequence[float | tuple[float, float]],
        age: Sequence[float],
        reach: float | Sequence[float] = 1.0,
        *,
        sex: Sequence[str] = (),
        groups: Mapping[str, tuple[str, ...]] | None = None,
        dataset: Sequence[str] = (),
        adult: Sequence[float] = (),
    ) -> Predictions:
        ends = [label if isinstance(label, tuple) else (label, label) for label in labels]
        centre, half = np.array(age, float), np.broadcast_to(np.array(reach, float), len(age))
        return Predictions(
            source=tuple(map(str, range(len(ends)))),
            sex=tuple(sex) or ("",) * len(ends),
            label_low=np.array([low for low, _ in ends], float),
            label_high=np.array([high for _, high in ends], float),
            age=centre,
            stddev=half,
            low=centre - half,
            high=centre + half,
            adult=np.array(adult, float) if adult else np.ones(len(ends)),
            dataset=tuple(dataset) or ("",) * len(ends),
            groups=groups or {},
        )

    return make
