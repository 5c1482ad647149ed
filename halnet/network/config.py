"""The configuration that a network is built from."""

from dataclasses import dataclass
from typing import Self

from halnet.errors import ConfigError
from halnet.json_text import parse_json


@dataclass(frozen=True)
class NetworkConfig:
    """The fields of a training recipe that determine the layers of the network.

    `halnet.network.backbones` and `halnet.network.heads` list the names of backbones and heads.
    Raises ConfigError for another dropout than a rate.
    """

    backbone: str = "ca_mobilenet_v3"
    head: str = "distribution"
    dropout: float = 0.2  # rate before the last layer, used in training only

    def __post_init__(self) -> None:
        if not 0 <= self.dropout <= 1:
            raise ConfigError(f"dropout: expected a rate from 0 to 1, found {self.dropout}")

    @classmethod
    def from_recipe(cls, text: str) -> Self:
        """Read the fields from a recipe in JSON, the text that `TrainConfig.to_json` returns.

        A field that is missing in the recipe gets its default. Raises ConfigError if the text is
        damaged.
        """
        try:
            recipe = dict(parse_json(text))
            default = cls()
            return cls(
                backbone=str(recipe.get("backbone", default.backbone)),
                head=str(recipe.get("head", default.head)),
                dropout=float(recipe.get("dropout", default.dropout)),
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the training recipe is damaged: {error!r}") from error
