"""What a network is built from, as its checkpoint states it."""

import json
from dataclasses import dataclass
from typing import Self

from halnet.errors import ConfigError


@dataclass(frozen=True)
class NetworkConfig:
    """The fields of a training recipe that decide the network's layers.

    `halnet.network.backbones` and `halnet.network.heads` list the names that they may have.
    """

    backbone: str = "ca_mobilenet_v3"
    head: str = "distribution"
    dropout: float = 0.2  # rate before the last layer, used in training only

    @classmethod
    def from_recipe(cls, text: str) -> Self:
        """Read the fields out of a recipe in JSON, the text that `TrainConfig.to_json` returns.

        A field that the recipe leaves out has its default. Raises ConfigError for damaged text.
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
