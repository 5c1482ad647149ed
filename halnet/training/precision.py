"""Mixed precision on a CPU: bfloat16 where it is faster, float32 where it is not."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


def keep_float32(network: nn.Module) -> None:
    """Compute depthwise convolutions that stride or have a 5 x 5 kernel in float32, in place.

    Under bfloat16 autocast their backward pass takes oneDNN 2 to 12 times as long as in float32
    (torch 2.14, AMD EPYC with AVX-512 BF16: 128 ms against 10 for 672 channels, 5 x 5, stride 2, 32
    crops), which makes the whole step of CA-MobileNetV3 a quarter longer.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d) or module.groups != module.in_channels:
            continue
        if module.groups > 1 and (module.stride[0] > 1 or module.kernel_size[0] >= 5):
            kind: Any = type(module)
            module.__class__ = _in_float32(kind)


@cache
def _in_float32(kind: Any) -> Any:
    """Return a subclass of a convolution that leaves autocast for its forward pass."""

    class Float32(kind):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                y: Tensor = super().forward(x.float())
                return y

    return Float32
