import json
from dataclasses import Field, fields
from typing import Any

import pytest

from halnet.errors import ConfigError
from halnet.evaluation.degradations import DEGRADATIONS
from halnet.network.config import NetworkConfig
from halnet.network.heads import HEADS
from halnet.training.config import Share, Stage, TrainConfig, parse_share, parse_stages


def test_the_resolution_of_each_epoch_comes_from_the_stages() -> None:
    config = TrainConfig(stages=parse_stages("128x2, 160x1,224x3"))
    assert config.epochs == 6
    assert [config.size_at(epoch) for epoch in range(7)] == [128, 128, 160, 224, 224, 224, 224]


def test_a_recipe_is_read_as_it_was_written() -> None:
    config = TrainConfig(
        stages=(Stage(96, 1), Stage(224, 2)),
        shares=(Share("aaf", 2.0), Share("fairface", 0.5)),
        sigma=3.0,
        seed=7,
    )
    assert TrainConfig.from_json(config.to_json()) == config


def test_a_recipe_of_an_older_version_gets_defaults() -> None:
    """It has no fields for several datasets and degradations."""
    values = json.loads(TrainConfig(sigma=3.0).to_json())
    for name in ("shares", "balance", "degrade", "degradations", "jitter"):
        del values[name]
    assert TrainConfig.from_json(json.dumps(values)) == TrainConfig(sigma=3.0)


def test_a_recipe_with_an_unknown_field_is_refused() -> None:
    text = TrainConfig().to_json().replace('"sigma"', '"nonsense"')
    with pytest.raises(ConfigError, match="found nonsense; use a newer version"):
        TrainConfig.from_json(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stages": [{"size": 1}]}'])
def test_a_damaged_recipe_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="training recipe is damaged"):
        TrainConfig.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"), [("degradations", 0.5), ("stages", 3), ("sigma", "wide"), ("shares", 1)]
)
def test_a_recipe_with_values_of_another_type_is_refused(name: str, value: object) -> None:
    values = json.loads(TrainConfig().to_json()) | {name: value}
    with pytest.raises(ConfigError, match="training recipe is damaged"):
        TrainConfig.from_json(json.dumps(values))


def test_a_network_is_built_from_three_fields() -> None:
    config = TrainConfig(backbone="mobilenet_v1", head="ordinal", dropout=0.4)
    assert config.network == NetworkConfig("mobilenet_v1", "ordinal", 0.4)
    assert NetworkConfig.from_recipe(config.to_json()) == config.network
    assert NetworkConfig.from_recipe("{}") == TrainConfig().network
    with pytest.raises(ConfigError, match="training recipe is damaged"):
        NetworkConfig.from_recipe('{"dropout": "much"}')


@pytest.mark.parametrize("dropout", ["-0.1", "1.1", "1e300", "NaN"])
def test_a_recipe_with_a_dropout_that_is_no_rate_is_refused(dropout: str) -> None:
    with pytest.raises(ConfigError, match="dropout: expected a rate from 0 to 1, found"):
        NetworkConfig.from_recipe(f'{{"dropout": {dropout}}}')


@pytest.mark.parametrize("field", fields(TrainConfig), ids=lambda field: field.name)
def test_each_field_has_a_help_text(field: Field[Any]) -> None:
    assert field.metadata["help"].endswith(".")


def test_fields_with_choices() -> None:
    choices = {f.name: f.metadata["choices"] for f in fields(TrainConfig) if f.metadata["choices"]}
    assert set(choices) == {"augment_on", "head", "lds", "precision", "quantize"}
    assert choices["head"] == tuple(HEADS)


@pytest.mark.parametrize("name", ["augment_on", "head", "lds", "precision", "quantize"])
def test_another_word_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected one of .* found nonsense"):
        TrainConfig(**{name: "nonsense"})


@pytest.mark.parametrize(
    "name", [f.name for f in fields(TrainConfig) if f.type in (int, float, float | None)]
)
def test_each_number_has_a_lower_bound(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected a number from .* found -1"):
        TrainConfig(**{name: -1})


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("128", "PIXELSxEPOCHS"),
        ("", "PIXELSxEPOCHS"),
        ("128x10", "expected 224 pixels in the last stage"),
        ("100x1,224x1", "multiples of 32 pixels"),
        ("128x0,224x1", "at least one epoch"),
        ("0x5,224x1", "multiples of 32 pixels"),
    ],
)
def test_bad_stages_are_refused(stages: str, message: str) -> None:
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
def test_bad_numbers_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field}: expected .* found"):
        TrainConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("aaf=2", Share("aaf", 2)),
        ("a=b=0.25", Share("a=b", 0.25)),
        ("aaf-2=1e1", Share("aaf-2", 10)),
    ],
)
def test_a_share_is_read(text: str, expected: Share) -> None:
    assert parse_share(text) == expected


@pytest.mark.parametrize("text", ["", "aaf", "2", "=2", "aaf=", "aaf=much"])
def test_another_text_is_no_share(text: str) -> None:
    with pytest.raises(ConfigError, match=f"expected NAME=WEIGHT such as aaf=2, found '{text}'"):
        parse_share(text)


@pytest.mark.parametrize("weight", [0, -1, 1001, float("nan"), float("inf")])
def test_a_weight_without_sense_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="share: expected a weight above 0 .* for aaf, found"):
        TrainConfig(shares=(Share("aaf", weight),))


def test_two_weights_of_a_dataset_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected one weight for each dataset, found aaf, aaf"):
        TrainConfig(shares=(Share("aaf", 1), Share("aaf", 2)))


def test_degradations_are_named() -> None:
    assert TrainConfig().degradation_names == tuple(DEGRADATIONS)
    assert TrainConfig(degradations="jpeg, blur").degradation_names == ("jpeg", "blur")
    for text in ("", "jpeg,", "fog"):
        with pytest.raises(ConfigError, match=f"degradations: expected all or .* found '{text}'"):
            TrainConfig(degradations=text)
