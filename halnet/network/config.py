"""The configuration that a network is built from."""

import json
from dataclasses import dataclass
from typing import Self

from halnet.errors import ConfigError


@dataclass(frozen=True)
class NetworkConfig:
    """The fields of a training recipe that determine the layers of the network.

    `halnet.network.backbones` and `halnet.network.heads` list the names of backbones and heads.
    """

    backbone: str = "ca_mobilenet_v3"
    head: str = "distribution"
    dropout: float = 0.2  # rate before the last layer, used in training only

    @classmethod
    def from_recipe(cls, text: str) -> Self:
        """Read the fields from a recipe in JSON, the text that `TrainConfig.to_json` returns.

        A field that is missing in the recipe gets its default. Raises ConfigError if the text is
        damaged.
        """
        try:
            recipe = dict(json.loads(text))
            default = cls()
            return cls(
                backbone=str(recipe.get("backbone", default.backbone)),
                head=str(recipe.get("head", default.head)),
                dropout=float(recipe.get("dropout", default.dropout)),
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the training recipe is damaged: {error!r}") from error
