"""Settings: what the user chose in the sidebar."""

from dataclasses import dataclass

from halnet.demo.models import Choice
from halnet.demo.server import DemoConfig


@dataclass(frozen=True)
class Settings:
    """The values that the page passes to each mode."""

    config: DemoConfig
    choices: tuple[Choice, ...]  # every model on every runtime that the page offers
    choice: Choice  # the model and runtime that the user chose
    level: float  # interval coverage, between 0 and 1
