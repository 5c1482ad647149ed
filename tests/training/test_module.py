from dataclasses import replace
from pathlib import Path

import numpy as np

from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.network.model import AgeNet
from halnet.training.config import Stage, TrainConfig
from halnet.training.module import AgeModule, dropout_rate, learning_rate_factor
from halnet.training.photos import training_photos


def test_norms_and_biases_have_no_weight_decay(prepared: Path) -> None:
    config = TrainConfig(photos=36, batch_size=12)
    data = DataCollection([PreparedDataset(prepared)])
    module = AgeModule(config, training_photos(data, config), [], AgeNet())
    (optimizer,), _ = module.configure_optimizers()
    decayed, plain = optimizer.param_groups
    assert decayed["weight_decay"] == config.weight_decay
    assert plain["weight_decay"] == 0
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim == 1 for p in plain["params"])
    counted = len(decayed["params"]) + len(plain["params"])
    assert counted == len(list(module.model.parameters()))


def test_the_learning_rate_warms_up_and_falls_like_a_cosine() -> None:
    config = TrainConfig(stages=(Stage(128, 8), Stage(224, 2)), warmup_epochs=2)
    factors = [learning_rate_factor(e, config) for e in (0, 1, 2, 6, 10)]
    np.testing.assert_allclose(factors, [0, 0.5, 1, 0.5, 0], atol=1e-3)


def test_dynamic_dropout_rises_until_the_last_epoch() -> None:
    config = TrainConfig(stages=(Stage(128, 4), Stage(224, 1)), dropout=0.4, dropout_start=0.0)
    rates = [dropout_rate(epoch, config) for epoch in range(5)]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3, 0.4])
    assert dropout_rate(3, replace(config, dropout_start=None)) == 0.4
