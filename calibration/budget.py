"""Budget: how far INT8 may move ages, and how far it does."""

from dataclasses import dataclass

from halnet.errors import ConfigError


@dataclass(frozen=True)
class Movement:
    """What quantization does to the ages of some crops, and to speed."""

    mean: float  # years, of abs(delta age)
    p99: float  # years, of abs(delta age)
    maximum: float  # years, of abs(delta age)
    delta_mae: float | None  # years; None where the true ages are not known
    milliseconds: float | None = None  # of one crop, median; None where not timed


@dataclass(frozen=True)
class Budget:
    """How far ages may move on the validation split."""

    mae: float = 0.05  # years, abs(delta MAE)
    p99: float = 1.5  # years, 99th percentile of abs(delta age); an artifact may move by 2.0

    def __post_init__(self) -> None:
        for name, value in (("mae", self.mae), ("p99", self.p99)):
            if not value > 0:  # NaN fails too
                raise ConfigError(f"budget of {name}: expected more than 0 years, found {value:g}")

    def holds(self, movement: Movement) -> bool:
        """Tell whether a movement lies inside; what is not known is not judged."""
        return movement.p99 <= self.p99 and abs(movement.delta_mae or 0.0) <= self.mae
