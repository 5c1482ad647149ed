"""Settings: what the user chose for all modes."""

from dataclasses import dataclass

from halnet.demo.models import Choice
from halnet.demo.server import DemoConfig


@dataclass(frozen=True)
class Settings:
    """The sidebar."""

    config: DemoConfig
    choices: tuple[Choice, ...]  # all that can be chosen
    choice: Choice
    level: float  # of the intervals
