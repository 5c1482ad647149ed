from functools import partial

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from halnet.training.callbacks import average_weights, ema_decay


@pytest.mark.parametrize(("updates", "decay"), [(0, 0.1), (90, 0.91), (100_000, 0.998)])
def test_the_decay_of_the_average_grows_to_its_ceiling(updates: int, decay: float) -> None:
    assert ema_decay(updates, 0.998) == pytest.approx(decay)


def test_weights_and_buffers_are_averaged() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    torch.nn.init.constant_(network[0].weight, 1.0)
    average = AveragedModel(
        network, multi_avg_fn=partial(average_weights, ceiling=0.998), use_buffers=True
    )
    average.update_parameters(network)  # the first update copies the values
    torch.nn.init.constant_(network[0].weight, 2.0)
    network[1].running_mean.fill_(4.0)
    network[1].num_batches_tracked.fill_(7)
    average.update_parameters(network)
    decay = 2 / 11
    assert average.module[0].weight.item() == pytest.approx(decay * 1 + (1 - decay) * 2)
    assert average.module[1].running_mean.item() == pytest.approx((1 - decay) * 4)
    assert average.module[1].num_batches_tracked.item() == 7
