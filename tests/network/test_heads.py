import numpy as np
import pytest
import torch

from halnet.errors import ConfigError
from halnet.network.heads import HEADS, find_head

YEARS = torch.arange(101.0)


@pytest.mark.parametrize("name", list(HEADS))
def test_each_head_returns_a_distribution(name: str) -> None:
    head = HEADS[name]
    logits = 3 * torch.randn(7, head.outputs, generator=torch.Generator().manual_seed(0))
    p = head.probabilities(logits)
    assert p.shape == (7, 101)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(7))
    torch.testing.assert_close(head.log_probabilities(logits).exp(), p, atol=1e-6, rtol=1e-4)


def test_ordinal_answers_become_ages() -> None:
    """P(age > k) is 1 for k below 30, 0.25 for 30 and 0 above 30."""
    logits = torch.full((1, 100), -50.0)
    logits[0, :30] = 50.0
    logits[0, 30] = -np.log(3)
    p = HEADS["ordinal"].probabilities(logits)
    assert p[0, 30].item() == pytest.approx(0.75)
    assert p[0, 31].item() == pytest.approx(0.25)
    # Answers in another order are sorted, and their sum, which is the mean age, stays the same.
    shuffled = logits[:, torch.randperm(100, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(HEADS["ordinal"].probabilities(shuffled), p)
    assert (p @ YEARS).item() == pytest.approx(logits.sigmoid().sum().item())


def test_the_error_for_an_unknown_head_lists_the_heads() -> None:
    assert find_head("ordinal").outputs == 100
    with pytest.raises(
        ConfigError, match="head: expected one of distribution, ordinal, found softmax"
    ):
        find_head("softmax")
