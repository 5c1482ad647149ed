"""Mixed precision on a CPU: layers that are slower in bfloat16 stay in float32."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


def keep_float32(network: nn.Module) -> None:
    """Change depthwise convolutions with a stride or a 5 x 5 kernel, in place, to use float32.

    With autocast to bfloat16, the backward pass of these layers takes oneDNN 2 to 12 times as long
    as in float32. For 672 channels, a 5 x 5 kernel, a stride of 2 and 32 crops, it takes 128 ms
    instead of 10 ms (torch 2.14, AMD EPYC with AVX-512 BF16). This makes a step of CA-MobileNetV3
    25 % slower.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d) or module.groups != module.in_channels:
            continue
        if module.groups > 1 and (module.stride[0] > 1 or module.kernel_size[0] >= 5):
            kind: Any = type(module)
            module.__class__ = _in_float32(kind)


@cache
def _in_float32(kind: Any) -> Any:
    """Return a subclass of a convolution class that turns autocast off in its forward pass."""

    class Float32(kind):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                y: Tensor = super().forward(x.float())
                return y

    return Float32
