"""Metrics: how far predicted ages are from true ones, and how often the interval holds them.

MAE and CS@k (share within k years) are those of the field; bias is mean(predicted - true). All
groups (decade, sex) are reported beside the whole, since an average hides them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import Calibration, Floats
from halnet.results import Outputs

LEVEL = 0.9  # of the interval whose coverage is reported
BOOTSTRAP_ROUNDS = 2000


@dataclass(frozen=True)
class Score:
    """Figures of one group of photos."""

    count: int
    mae: float  # years
    bias: float  # years, positive: predicted too old
    cs5: float  # share of photos within 5 years, 0 to 1
    coverage: float  # share of photos whose 90 % interval holds the true age, 0 to 1
    width: float  # mean width of the 90 % interval, years


@dataclass(frozen=True)
class Evaluation:
    """Figures of a model on one split."""

    overall: Score
    mae_interval: tuple[float, float]  # bootstrap 95 % interval of the MAE, years
    by_decade: dict[str, Score]  # "20-29": ...
    by_sex: dict[str, Score]  # where the dataset knows it

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def evaluate(
    outputs: Outputs, labels: Sequence[int], sexes: Sequence[str], calibration: Calibration
) -> Evaluation:
    """Compare N outputs with N labels in years and N sexes ("female", "male" or "")."""
    truth = np.asarray(labels, np.float64)
    error = outputs.age.astype(np.float64) - truth
    low, high = calibration.interval(outputs.age, outputs.stddev, LEVEL)
    inside = (low <= truth) & (truth <= high)

    def score(group: NDArray[np.bool_]) -> Score:
        return Score(
            count=int(group.sum()),
            mae=float(np.abs(error[group]).mean()),
            bias=float(error[group].mean()),
            cs5=float((np.abs(error[group]) <= 5).mean()),
            coverage=float(inside[group].mean()),
            width=float((high - low)[group].mean()),
        )

    decade = truth.astype(int) // 10 * 10
    sex = np.asarray(sexes)
    return Evaluation(
        overall=score(np.ones(len(truth), bool)),
        mae_interval=_bootstrap(np.abs(error)),
        by_decade={f"{d}-{d + 9}": score(decade == d) for d in sorted(set(decade.tolist()))},
        by_sex={s: score(sex == s) for s in sorted(set(sexes)) if s},
    )


def _bootstrap(errors: Floats) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(errors), (BOOTSTRAP_ROUNDS, len(errors)))
    low, high = np.percentile(errors[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
