"""muP: the best learning rate of a narrow network is that of a wide one.

Yang et al. 2022 (Tensor Programs V), https://arxiv.org/abs/2203.03466, table 8, for Adam. A network
that is m = dim / base_dim times as wide as its base has, relative to `init=scaled`:

    embeddings, norms, biases    the same
    matrices inside blocks       std / sqrt(m), learning rate / m
    output multiplier            1 / m
    attention logits             q.k sqrt(base_head_dim) / head_dim

The multipliers are in the weights, so that other programs read them: Adam's update does not depend
on the scale of a gradient, so a factor c in the forward pass equals a factor c of both the initial
weight and its learning rate. The output multiplier is in the scale of the last norm, that of
attention in the query weights. With mixer.qk_norm the latter is without effect. Weight decay is
divided by the factor of the learning rate, as in https://github.com/microsoft/mup, so that decay
does not depend on width. At `base_dim` all is as with `init=scaled`, to the bit. docs/mup.md shows
the transfer.
"""

import math
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import nn

from etude import plugin, require
from etude.config import InitConfig, OptimizerConfig, plugin_of
from etude.network import BranchOut, QueryIn, Stack, StackNetwork, draw_normal


@dataclass
class MupConfig(InitConfig):
    base_dim: int = 64
    """Width at which the learning rate was tuned; there, init=scaled is the same. Typical: 64-256.
    Keep n_layers, the ratios of the MLP and, unless base_head_dim is set, n_heads."""
    base_head_dim: int | None = None
    """Width of a head at base_dim; null = as many heads as here."""
    std: float = 0.02
    """Standard deviation at base_dim; divided by sqrt(2 n_layers) at the end of a branch. Typical:
    0.02, or 1 / sqrt(base_dim) for a narrow base, which 0.02 leaves with small activations."""

    def __post_init__(self) -> None:
        for name in ("base_dim", "base_head_dim"):
            value = vars(self)[name]
            require(value is None or value >= 1, f"{name} must be at least 1, got {value}")
        require(self.std > 0, f"std must be positive, got {self.std}")

    def check(self, optimizer: OptimizerConfig) -> None:
        chosen = plugin_of(optimizer)
        require(
            chosen.declaration.elementwise,
            "the learning rates of init=mup are those of Adam, whose updates have the same size "
            f"for each element; those of {chosen.address} scale otherwise with width. "
            "Use optimizer=adamw, lion or schedule_free, or another init",
        )


@plugin(MupConfig)
def mup(config: MupConfig, network: StackNetwork, n_layers: int) -> None:
    """Draws the weights, and gives the network the factors of its learning rates."""
    stacks = _stacks(network)
    inside = [module for stack in stacks for module in stack.blocks.modules()]
    hidden = {id(m): 1 / math.sqrt(network.dim / config.base_dim) for m in inside}
    queries = {id(m): logit_factor(config, network.dim, m) for m in inside if is_query(m)}

    def std(module: nn.Linear | nn.Embedding) -> float:
        depth = math.sqrt(2 * n_layers) if isinstance(module, BranchOut) else 1.0
        return config.std * hidden.get(id(module), 1.0) * queries.get(id(module), 1.0) / depth

    draw_normal(network, std)
    factors: dict[int, float] = {}
    for module in inside:
        of_logits = queries.get(id(module), 1.0)
        for parameter in module.parameters(recurse=False):
            of_width = config.base_dim / network.dim if parameter.ndim > 1 else 1.0
            factors[id(parameter)] = of_logits * of_width
    for parameter in stacks[-1].norm.parameters():
        factors[id(parameter)] = config.base_dim / network.dim
        with torch.no_grad():
            parameter.mul_(config.base_dim / network.dim)
    network.lr_factors = {
        name: factors[id(p)] for name, p in network.named_parameters() if id(p) in factors
    }


def logit_factor(config: MupConfig, dim: int, query: QueryIn) -> float:
    """Returns the factor that makes q.k / sqrt(head_dim) grow as in muP."""
    base = config.base_head_dim or query.head_dim * config.base_dim / dim
    return math.sqrt(base / query.head_dim)


def is_query(module: nn.Module) -> TypeGuard[QueryIn]:
    """Whether a module is the query projection of attention."""
    return isinstance(module, QueryIn)


def _stacks(network: StackNetwork) -> list[Stack]:
    """Returns the stacks, of which the last feeds the head, of a network without other matrices."""
    stacks = [module for module in network.modules() if isinstance(module, Stack)]
    blocks = [module for stack in stacks for module in stack.blocks.modules()]
    linears = {module for module in network.modules() if isinstance(module, nn.Linear)}
    require(
        linears - {*blocks} == {network.head.out}
        and isinstance(stacks[-1].norm, nn.LayerNorm | nn.RMSNorm)
        and all(stack.scale == 1.0 for stack in stacks),
        "init=mup needs a final norm and no other matrices than those of blocks, token embedding "
        "and head: an architecture with block=prenorm, head=linear, embedding_dim=null and "
        "scale_embedding=false",
    )
    return stacks
