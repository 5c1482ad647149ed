"""Folding: batch norms become part of the convolutions before them, in networks that only predict.

In eval mode, a batch norm multiplies each channel by a constant and adds another one. A convolution
can do the same by itself, which saves one pass over memory [Jacob et al., CVPR 2018, section 3.2].
"""

from typing import Any

import torch
from torch import Tensor, nn

Producers = dict[int, tuple[nn.Conv2d, Tensor]]  # id of an output: its convolution, and the output
Pairs = dict[str, tuple[nn.Conv2d, Any]]  # name of a batch norm: its convolution, and the norm


@torch.no_grad()
def fold_batch_norms(network: nn.Module, example: Tensor) -> None:
    """Fold, in place, each batch norm whose input is the output of a convolution.

    `network` must be in eval mode. `example` is an input that it accepts, which is passed through
    once to find these batch norms.
    """
    for name, (conv, norm) in _find_pairs(network, example).items():
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        bias = 0 if conv.bias is None else conv.bias
        conv.bias = nn.Parameter(norm.bias + (bias - norm.running_mean) * scale)
        conv.weight.mul_(scale.view(-1, 1, 1, 1))
        parent, _, own = name.rpartition(".")
        # The batch norms of timm contain the activation that follows: it must stay.
        activation = getattr(norm, "act", nn.Identity())
        setattr(network.get_submodule(parent), own, activation)


def _find_pairs(network: nn.Module, example: Tensor) -> Pairs:
    """Return each batch norm that follows a convolution, once even if it is used twice."""
    producers: Producers = {}  # keeps the outputs alive, so that no two have the same id
    pairs: Pairs = {}
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(_producer_hook(producers)))
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(_pair_hook(name, producers, pairs)))
    network(example)
    for handle in handles:
        handle.remove()
    return pairs


def _producer_hook(producers: Producers) -> Any:
    def remember(module: nn.Conv2d, inputs: Any, output: Tensor) -> None:
        producers[id(output)] = module, output

    return remember


def _pair_hook(name: str, producers: Producers, pairs: Pairs) -> Any:
    def pair(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in producers:
            pairs[name] = producers[id(inputs[0])][0], module

    return pair
