"""What networks are asked to do: calls and floating-point operations, counted and not estimated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_flop_count


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_, **__) -> int:
    return sdpa_flop_count(query, key, value)


def _convolution(x: torch.Size, weight: torch.Size, *_, out_shape: torch.Size, **__) -> int:
    return conv_flop_count(list(x), list(weight), list(out_shape))


# Torch counts the kernels of GPUs but not these of CPUs.
UNCOUNTED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten.mkldnn_convolution: _convolution,
}


@dataclass
class NetworkUse:
    """What one network did; a multiplication and an addition are two operations."""

    calls: int = 0
    flop: int = 0
    _before: int = field(default=0, repr=False)


@contextmanager
def counted(networks: Mapping[str, nn.Module]) -> Iterator[dict[str, NetworkUse]]:
    """Count what networks do within the block; slows it down, so nothing is timed in it."""
    uses = {name: NetworkUse() for name in networks}
    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter, ExitStack() as hooks:
        for name, network in networks.items():
            for handle in _watch(network, uses[name], counter):
                hooks.callback(handle.remove)
        yield uses


def _watch(network: nn.Module, use: NetworkUse, counter: FlopCounterMode) -> tuple:
    def before(*_) -> None:
        use._before = counter.get_total_flops()

    def after(*_) -> None:
        use.calls += 1
        use.flop += counter.get_total_flops() - use._before

    return network.register_forward_pre_hook(before), network.register_forward_hook(after)


def networks_of(**models) -> dict[str, nn.Module]:
    """The networks of those models that have one."""
    found = {name: getattr(model, "network", None) for name, model in models.items()}
    return {name: network for name, network in found.items() if network is not None}
