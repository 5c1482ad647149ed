"""Folding: batch norms into the convolutions before them, for networks that only predict.

In eval mode a batch norm is a scale and a shift of each channel, which a convolution can do itself:
the same numbers with one pass over memory less [Jacob et al., CVPR 2018, section 3.2].
"""

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def fold_batch_norms(network: nn.Module, example: Tensor) -> None:
    """Fold, in place, each BN whose input is a convolution's output when `example` passes.

    `example` is whatever `network` takes; the network must be in eval mode.
    """
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by identity of the output, kept alive
    pairs: dict[str, tuple[nn.Conv2d, Any]] = {}  # by name: one that is used twice is folded once
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(_note(made)))
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(_pair(name, made, pairs)))
    network(example)
    for handle in handles:
        handle.remove()
    for name, (conv, norm) in pairs.items():
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = 0 if conv.bias is None else conv.bias
        conv.bias = nn.Parameter(norm.bias + (bias - norm.running_mean) * scale)
        conv.weight.mul_(scale.view(-1, 1, 1, 1))
        parent, _, own = name.rpartition(".")
        # timm's variant of a BN holds the activation that comes after it.
        rest = getattr(norm, "act", nn.Identity())
        setattr(network.get_submodule(parent), own, rest)


def _note(made: dict[int, tuple[nn.Conv2d, Tensor]]) -> Any:
    def hook(module: nn.Conv2d, inputs: Any, output: Tensor) -> None:
        made[id(output)] = module, output

    return hook


def _pair(name: str, made: Any, pairs: dict[str, tuple[nn.Conv2d, Any]]) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            pairs[name] = made[id(inputs[0])][0], module

    return hook
