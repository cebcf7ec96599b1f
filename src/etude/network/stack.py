"""A stack of blocks with positions and a final norm, used by all three architecture families."""

import math
from abc import ABC
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude.config.registry import build
from etude.config.schema.blocks import StackConfig
from etude.data.vocab import Vocab
from etude.network.auxiliary_loss import AuxiliaryLoss
from etude.network.context import Context, Position
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache, Memory
from etude.network.network import Network
from etude.network.parts import (
    BlockParts,
    Head,
    HeadParts,
    InOrder,
    Layers,
    Parts,
    Stream,
    StreamParts,
)


class BranchOut(nn.Linear):
    """The last linear map of a residual branch; some initialisations scale it down."""


class QueryIn(nn.Linear):
    """The query projection of attention, with `head_dim` features per head."""

    def __init__(self, dim: int, n_heads: int, head_dim: int, bias: bool) -> None:
        super().__init__(dim, n_heads * head_dim, bias)
        self.head_dim = head_dim


class FeedForward(nn.Module):
    """down(activation(up(x))): the MLP of the 2017 transformer."""

    def __init__(self, dim: int, hidden: int, *, bias: bool, activation: nn.Module) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden, bias)
        self.activation = activation
        self.down = BranchOut(hidden, dim, bias)

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        return self.down(self.activation(self.up(x)))


class GatedFeedForward(nn.Module):
    """down(activation(gate(x)) * up(x)): Shazeer 2020, https://arxiv.org/abs/2002.05202."""

    def __init__(
        self, dim: int, hidden: int, *, bias: bool, activation: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias)
        self.up = nn.Linear(dim, hidden, bias)
        self.activation = activation
        self.down = BranchOut(hidden, dim, bias)

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        return self.down(self.activation(self.gate(x)) * self.up(x))


def hidden_size(dim: int, ratio: float, multiple_of: int = 1) -> int:
    """Returns ratio * dim, rounded up to a multiple of `multiple_of`."""
    return multiple_of * math.ceil(ratio * dim / multiple_of - 1e-9)


class Stack(nn.Module):
    """Blocks over embedded tokens; causal or bidirectional, with or without cross-attention."""

    def __init__(
        self, config: StackConfig, vocab: Vocab, *, causal: bool, reads_source: bool = False
    ) -> None:
        super().__init__()
        self.causal = causal
        self.dropout = nn.Dropout(config.dropout)
        self.span: int | None = None
        width = config.table_dim
        dim = config.dim
        parts = Parts(dim, config.n_heads, causal, width, config.mixer.key_dim)
        self.scale = math.sqrt(width) if config.scale_embedding else 1.0
        self.position: Position = build(config.position, parts)
        self.segments = nn.Embedding(config.n_segments, width) if config.n_segments else None
        self.embedding_norm: nn.Module = (
            build(config.norm, replace(parts, dim=width))
            if config.norm_embedding
            else nn.Identity()
        )
        self.widen: nn.Module = nn.Linear(width, dim) if config.embedding_dim else nn.Identity()
        n_built = config.n_groups or config.n_layers
        self.order = [i * n_built // config.n_layers for i in range(config.n_layers)]
        kv_shapes: list[tuple[int, int] | None] = []
        self.blocks = nn.ModuleList()
        for layer in range(n_built):
            made = _parts(config, replace(parts, layer=layer, n_layers=n_built), reads_source)
            kv_shapes.append(made.mixer.kv_shape)
            self.blocks.append(build(config.block, made))
        self.stream: Stream = build(
            config.stream,
            StreamParts(
                dim,
                config.n_layers,
                vocab.size,
                [kv_shapes[block] for block in self.order],
                lambda: build(config.norm, parts),
            ),
        )
        self._auxiliary = tuple(m for m in self.blocks.modules() if isinstance(m, AuxiliaryLoss))
        last = any(block.final_norm for block in self.blocks)
        self.norm: nn.Module = build(config.norm, parts) if last else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch seq table_dim"],
        inputs: Inputs,
        cache: KvCache | None = None,
        memory: Memory | None = None,
    ) -> Float[Tensor, "batch seq dim"]:
        context = self.context(inputs, cache, memory)
        x = self.embed(x, inputs, context)
        for auxiliary in self._auxiliary:
            auxiliary.real = None if inputs.documents is None else inputs.documents > 0
        layers = Layers([self.blocks[block] for block in self.order], context)
        x = self.stream(x, inputs, layers)
        if cache is not None:
            cache.advance(inputs)
        return self.norm(x)

    def keep_last_layer(self) -> None:
        """Drops all other layers, and the stream that connected them."""
        del self.blocks[:-1]
        self.order = [0]
        self.stream = InOrder()

    def embed(self, x: Tensor, inputs: Inputs, context: Context) -> Tensor:
        """Adds position and segment embeddings to the token embeddings, and projects to `dim`."""
        x = self.position.embed(x * self.scale, context.positions)
        if self.segments is not None:
            ids = inputs.segments
            x = x + self.segments(torch.zeros_like(inputs.tokens) if ids is None else ids)
        return self.widen(self.dropout(self.embedding_norm(x)))

    def context(self, inputs: Inputs, cache: KvCache | None, memory: Memory | None) -> Context:
        """Returns the context of this forward pass: which keys each query sees."""
        if cache is None:
            key_positions, key_documents = inputs.positions(), inputs.documents
        else:
            key_positions, key_documents = cache.positions(inputs), cache.documents(inputs)
        positions = key_positions[:, -inputs.tokens.shape[1] :]
        context = Context(self.position, positions, key_positions, self.causal, inputs.documents)
        context.key_documents = key_documents
        context.prefix = inputs.prefix
        context.span = self.span
        context.cache = cache
        if memory is not None:
            source = torch.arange(memory.states.shape[1], device=positions.device)[None]
            context.source = Context(
                Position(), positions, source, False, inputs.documents, memory.documents
            )
            context.source.memory = memory
            context.source.cache = cache
        return context


def _parts(config: StackConfig, parts: Parts, reads_source: bool) -> BlockParts:
    """Returns the parts of the block of layer `parts.layer`."""
    return BlockParts(
        norm=lambda: build(config.norm, parts),
        mixer=build(config.mixer, parts),
        mlp=build(config.mlp, parts),
        dropout=config.dropout,
        cross=build(config.mixer, replace(parts, causal=False)) if reads_source else None,
        layer=parts.layer,
    )


class StackNetwork(Network, ABC):
    """Base of the three families: a token embedding, stacks of blocks, and a head.

    A family builds its stacks after `super().__init__`, and then calls `initialise`.
    """

    def __init__(self, config: StackConfig, vocab: Vocab) -> None:
        super().__init__()
        self.vocab = vocab
        self.dim = config.dim
        narrow = Parts(config.table_dim, config.n_heads)
        self.embedding = nn.Embedding(vocab.size, config.table_dim)
        self.head: Head = build(
            config.head,
            HeadParts(config.dim, config.table_dim, vocab.size, lambda: build(config.norm, narrow)),
        )

    def initialise(self, config: StackConfig) -> None:
        """Initialises the weights, and ties the head to the token embedding if `tie` is set."""
        build(config.init, self, config.stream.n_executed(config.n_layers))
        if config.tie:
            self.head.out.weight = self.embedding.weight

    def logits(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        return self.head(states)


@contextmanager
def attention_span(root: nn.Module, span: int | None) -> Generator[None]:
    """Limits the attention window of every stack in `root`, for a block of code."""
    stacks = [m for m in root.modules() if isinstance(m, Stack)] if span is not None else []
    for stack in stacks:
        stack.span = span
    try:
        yield
    finally:
        for stack in stacks:
            stack.span = None


def freeze_head(network: Network) -> None:
    """Freezes the head of a network used only for its hidden states; tied embeddings stay free."""
    if isinstance(network, StackNetwork):
        for parameter in network.head.parameters():
            if parameter is not network.embedding.weight:
                parameter.requires_grad_(False)


def draw_normal(network: nn.Module, std: Callable[[nn.Linear | nn.Embedding], float]) -> None:
    """Draws each matrix and embedding table from N(0, std(module)^2) and sets biases to 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std(module))
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
