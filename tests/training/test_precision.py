import copy

import pytest
import torch
from torch import nn

from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.training.precision import keep_float32


def dtypes(model: AgeNet) -> dict[str, torch.dtype]:
    """The dtype of the output of each convolution with autocast to bfloat16."""
    found: dict[str, torch.dtype] = {}
    handles = [
        m.register_forward_hook(lambda m, i, o, n=n: found.__setitem__(n, o.dtype))
        for n, m in model.network.named_modules()
        if isinstance(m, nn.Conv2d)
    ]
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        model.logits(torch.zeros(2, 64, 64, 3))
    for handle in handles:
        handle.remove()
    return found


def test_only_the_slow_convolutions_are_in_float32() -> None:
    model = AgeNet()
    assert set(dtypes(model).values()) == {torch.bfloat16}
    keep_float32(model)
    wide = {name for name, dtype in dtypes(model).items() if dtype == torch.float32}
    # These are blocks with a stride (2, 4, 7, 13) or 5 x 5 kernels (4 to 6, 13 to 15).
    assert wide == {f"features.{i}.block.1.0" for i in (2, 4, 5, 6, 7, 13, 14, 15)}


@pytest.mark.parametrize("backbone", ["ca_mobilenet_v3", "mobilenet_v1"])
def test_nothing_else_changes(backbone: str) -> None:
    """Without autocast, a copy has the same outputs and names. Padding of timm works too."""
    torch.manual_seed(0)
    model = AgeNet(NetworkConfig(backbone=backbone)).eval()
    crops = torch.randint(0, 256, (2, 64, 64, 3)).float()
    before, names = model(crops)[0], list(model.state_dict())
    keep_float32(model)
    twin = copy.deepcopy(model)
    assert list(twin.state_dict()) == names
    assert torch.equal(twin(crops)[0], before)
    with torch.autocast("cpu", torch.bfloat16):
        assert (twin(crops)[0] - before).abs().max() < 1
