from dataclasses import fields

import pytest

from halnet.errors import ConfigError
from halnet.network.config import NetworkConfig
from halnet.training.config import Stage, TrainConfig, parse_stages


def test_stages() -> None:
    config = TrainConfig(stages=parse_stages("128x2, 160x1,224x3"))
    assert config.epochs == 6
    assert [config.size_at(epoch) for epoch in range(7)] == [128, 128, 160, 224, 224, 224, 224]


def test_json_round_trip() -> None:
    config = TrainConfig(stages=(Stage(96, 1), Stage(224, 2)), sigma=3.0, seed=7)
    assert TrainConfig.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="found nonsense"):
        TrainConfig.from_json(config.to_json().replace('"sigma"', '"nonsense"'))
    for damaged in ("", "[]", "{}", '{"stages": [{"size": 1}]}'):
        with pytest.raises(ConfigError, match="training recipe is damaged"):
            TrainConfig.from_json(damaged)


def test_the_network_is_built_from_three_of_the_fields() -> None:
    config = TrainConfig(backbone="mobilenet_v1", head="ordinal", dropout=0.4)
    assert config.network == NetworkConfig("mobilenet_v1", "ordinal", 0.4)
    assert NetworkConfig.from_recipe(config.to_json()) == config.network
    assert NetworkConfig.from_recipe("{}") == TrainConfig().network


def test_every_field_is_explained_and_bounded() -> None:
    assert all(field.metadata["help"].endswith(".") for field in fields(TrainConfig))
    words = {f.name: f.metadata["choices"] for f in fields(TrainConfig) if f.metadata["choices"]}
    assert set(words) == {"head", "lds", "precision", "quantize"}
    for name, known in words.items():
        assert getattr(TrainConfig(), name) in known
        with pytest.raises(ConfigError, match=f"{name}: expected one of .* found nonsense"):
            TrainConfig(**{name: "nonsense"})
    numbers = {f.name for f in fields(TrainConfig) if f.type in (int, float, float | None)}
    for name in numbers:
        with pytest.raises(ConfigError, match=f"{name}: expected .* found -1"):
            TrainConfig(**{name: -1})


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("128", "PIXELSxEPOCHS"),
        ("", "PIXELSxEPOCHS"),
        ("128x10", "the last must be at 224 pixels"),
        ("100x1,224x1", "multiples of 32 pixels"),
        ("128x0,224x1", "at least one epoch"),
        ("0x5,224x1", "multiples of 32 pixels"),
    ],
)
def test_bad_stages(stages: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(stages=parse_stages(stages))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("dropout", 1.0),
        ("sigma", float("nan")),
    ],
)
def test_bad_values(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field}: expected .* found"):
        TrainConfig(**{field: value})  # type: ignore[arg-type]
