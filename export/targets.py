"""Targets: what an artifact is made for, where its format ties it to something."""

from dataclasses import dataclass

from halnet.errors import ConfigError


@dataclass(frozen=True)
class Target:
    """What an engine is built for; the other formats run anywhere."""

    batches: tuple[int, int, int] = (1, 8, 32)  # least, best and most crops, where N is free
    capabilities: tuple[str, ...] = ()  # of TensorRT for RTX, "SM86"; none: all that it can

    def __post_init__(self) -> None:
        least, best, most = self.batches
        if not 1 <= least <= best <= most:
            raise ConfigError(
                f"batches: expected least, best and most in this order, found {self.batches}"
            )
