"""A stack: positions, blocks and a last norm, shared by the three families of architecture."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude.inputs import Inputs
from etude.network import BlockParts, Context, KvCache, Memory, Parts, Position
from etude.registry import build
from etude.schema import StackConfig


class BranchOut(nn.Linear):
    """The last linear map of a residual branch; it starts smaller the deeper the stack."""


class FeedForward(nn.Module):
    """down(activation(up(x))): the MLP of the 2017 transformer."""

    def __init__(self, dim: int, hidden: int, *, bias: bool, activation: nn.Module) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden, bias)
        self.activation = activation
        self.down = BranchOut(hidden, dim, bias)

    def forward(self, x: Float[Tensor, "batch seq dim"]) -> Float[Tensor, "batch seq dim"]:
        return self.down(self.activation(self.up(x)))


def hidden_size(dim: int, ratio: float, multiple_of: int = 1) -> int:
    """Returns ratio * dim, rounded up to a multiple."""
    return multiple_of * math.ceil(ratio * dim / multiple_of - 1e-9)


class Stack(nn.Module):
    """Blocks over embedded tokens; causal or not, reading a source or not."""

    def __init__(self, config: StackConfig, *, causal: bool, reads_source: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.dropout = config.dropout
        self.position: Position = build(config.position, Parts(config.dim, config.n_heads))
        self.blocks = nn.ModuleList(
            _block(config, layer, reads_source) for layer in range(config.n_layers)
        )
        parts = Parts(config.dim, config.n_heads)
        last = any(block.final_norm for block in self.blocks)
        self.norm: nn.Module = build(config.norm, parts) if last else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch seq dim"],
        inputs: Inputs,
        cache: KvCache | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "batch seq dim"]:
        context = self.context(inputs, cache, memory)
        x = F.dropout(self.position.embed(x, context.positions), self.dropout, self.training)
        for block in self.blocks:
            x = block(x, context)
        if cache is not None:
            cache.advance(inputs)
        return self.norm(x)

    def context(self, inputs: Inputs, cache: KvCache | None, memory: Memory | None) -> Context:
        """Says who may look at whom in this pass."""
        if cache is None:
            positions, keys = inputs.positions(), inputs.documents
        else:
            positions, keys = cache.positions(inputs), cache.documents(inputs)
        context = Context(self.position, positions, self.causal, inputs.documents, keys)
        context.cache = cache
        if memory is not None:
            context.source = Context(
                Position(), positions, False, inputs.documents, memory.documents, memory, cache
            )
        return context


def _block(config: StackConfig, layer: int, reads_source: bool) -> nn.Module:
    parts = Parts(config.dim, config.n_heads, layer)
    return build(
        config.block,
        BlockParts(
            norm=lambda: build(config.norm, parts),
            mixer=build(config.mixer, parts),
            mlp=build(config.mlp, parts),
            dropout=config.dropout,
            cross=build(config.mixer, parts) if reads_source else None,
        ),
    )


def initialise(network: nn.Module, config: StackConfig) -> None:
    """Draws every weight from N(0, init_std); biases 0; branch ends scaled by 1/sqrt(2 n_layers).

    Radford et al. 2019 (GPT-2), section 2.3; BERT and LLaMA use the same 0.02.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            deep = isinstance(module, BranchOut)
            nn.init.normal_(
                module.weight, std=config.init_std / math.sqrt(2 * config.n_layers if deep else 1)
            )
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
