"""The contracts of mixers, blocks and heads, and the parts that they are built with."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from etude.network.context import Context
from etude.network.inputs import Inputs


class Mixer(nn.Module, ABC):
    """The group `architecture/mixer`: mixes information across positions."""

    kv_shape: tuple[int, int] | None = None
    """Number and width of the key heads, if learned keys can be prepended (see `Context`)."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        """Mixes along the sequence; each query reads the keys that are visible in the context."""


@dataclass(frozen=True)
class Parts:
    """Sizes that a mixer, MLP, norm or position encoding is built with."""

    dim: int
    n_heads: int
    causal: bool = True
    """Whether the stack is causal."""
    table_dim: int | None = None
    """Width of the token embedding table; None = dim."""
    key_dim: int | None = None
    """Width of the queries and keys of a head; None = dim / n_heads."""
    layer: int = 0
    """Index of the layer that is built; layers that share weights are built once."""
    n_layers: int = 1
    """Number of layers that are built."""

    @property
    def embedding_dim(self) -> int:
        """Width of the token embeddings, before they are projected to `dim`."""
        return self.table_dim or self.dim

    @property
    def head_dim(self) -> int:
        """Width of the queries and keys of a head."""
        return self.key_dim or self.dim // self.n_heads


@dataclass(frozen=True)
class BlockParts:
    """The parts of a layer's block. `cross` is the cross-attention of an encoder-decoder."""

    norm: Callable[[], nn.Module]
    mixer: Mixer
    mlp: nn.Module
    dropout: float = 0.0
    cross: Mixer | None = None
    layer: int = 0


class Block(nn.Module, ABC):
    """The group `architecture/block`: one layer."""

    final_norm: bool = True
    """Whether the stack needs a norm after its last block."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        """Returns the residual stream after this layer."""


@dataclass(frozen=True)
class StreamParts:
    """Sizes of a stack, which its stream is built with."""

    dim: int
    n_layers: int
    n_vocab: int
    kv_shapes: Sequence[tuple[int, int] | None]
    """For each layer, number and width of its mixer's value heads; None = see `Mixer.kv_shape`."""
    norm: Callable[[], nn.Module]


@dataclass(frozen=True)
class Layers:
    """The layers of a stack in one forward pass."""

    blocks: Sequence[nn.Module]
    """The block of each layer; layers that share weights have the same one."""
    context: Context

    def __len__(self) -> int:
        return len(self.blocks)

    def run(
        self, layer: int, x: Float[Tensor, "batch seq dim"], *, execution: int | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        """Returns the residual stream after a layer.

        `execution` is its index among all layers that this forward pass runs, if some run more
        than once: each execution has a cache of its own.
        """
        self.context.enter(layer if execution is None else execution)
        return self.blocks[layer](x, self.context)


class Stream(nn.Module, ABC):
    """The group `architecture/stream`: runs the layers of a stack."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch seq dim"], inputs: Inputs, layers: Layers
    ) -> Float[Tensor, "batch seq dim"]:
        """Returns the residual stream after the last layer, given the embedded tokens."""


class InOrder(Stream):
    """Every layer once: x -> layer 0 -> layer 1 -> ..."""

    def forward(
        self, x: Float[Tensor, "batch seq dim"], inputs: Inputs, layers: Layers
    ) -> Float[Tensor, "batch seq dim"]:
        for layer in range(len(layers)):
            x = layers.run(layer, x)
        return x


@dataclass(frozen=True)
class HeadParts:
    """Sizes of a head: it reads `dim` features, and its last layer reads `embedding_dim`."""

    dim: int
    embedding_dim: int
    n_vocab: int
    norm: Callable[[], nn.Module]
    """A norm of `embedding_dim` features."""


class Head(nn.Module, ABC):
    """The group `architecture/head`: maps hidden states to the logits of every token id."""

    out: nn.Linear
    """The last layer, whose weight a network may tie to its token embeddings."""

    @abstractmethod
    def forward(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        """Returns logits."""
