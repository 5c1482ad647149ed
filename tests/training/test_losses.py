import numpy as np
import pytest
import torch

from halnet.training.losses import dldl_v2, label_distribution, mix


def test_label_distribution() -> None:
    target = label_distribution(torch.tensor([30.0, 80.0, 25.5]), 2.0)
    years = torch.arange(101.0)
    torch.testing.assert_close(target.sum(1), torch.ones(3))
    assert (target[0, 32] / target[0, 30]).item() == pytest.approx(np.exp(-0.5), rel=1e-4)
    # The support goes beyond the last label: no pull towards the middle at 80.
    torch.testing.assert_close(target @ years, torch.tensor([30.0, 80.0, 25.5]), atol=1e-3, rtol=0)


def test_dldl_v2_by_hand() -> None:
    logits = torch.full((1, 101), -1e4)
    logits[0, [20, 40]] = 0.0  # half and half: expectation 30
    target = torch.zeros(1, 101)
    target[0, [20, 40]] = torch.tensor([0.75, 0.25])
    kl = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    loss = dldl_v2(logits, target, torch.tensor([33.0]), 0.5)
    assert loss.item() == pytest.approx(kl + 0.5 * 3.0, rel=1e-4)


def test_dldl_v2_is_zero_only_at_the_target() -> None:
    age = torch.tensor([44.0])
    target = label_distribution(age, 2.0)
    assert dldl_v2((target + 1e-30).log(), target, age, 1.0).item() == pytest.approx(0, abs=1e-3)
    other = label_distribution(torch.tensor([45.0]), 2.0)
    # KL of equal Gaussians d apart is d^2 / (2 sigma^2)
    assert dldl_v2((other + 1e-30).log(), target, age, 1.0).item() == pytest.approx(
        1 / 8 + 1, abs=1e-3
    )


def test_mix_is_the_same_for_images_and_ages() -> None:
    order = torch.tensor([1, 0])
    ages = torch.tensor([10.0, 50.0])
    torch.testing.assert_close(mix(ages, order, 0.75), torch.tensor([20.0, 40.0]))
    images = ages.view(2, 1, 1, 1).expand(2, 4, 4, 3)
    torch.testing.assert_close(mix(images, order, 0.75)[:, 0, 0, 0], torch.tensor([20.0, 40.0]))
    target = label_distribution(ages, 2.0)
    mean = mix(target, order, 0.75) @ torch.arange(101.0)
    torch.testing.assert_close(mean, torch.tensor([20.0, 40.0]), atol=1e-3, rtol=0)
