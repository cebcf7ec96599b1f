"""What a network is made of.

A network is a stack of blocks; a block joins a mixer, an MLP and norms; all of them are plugins.
What a layer may know of its neighbours is a `Context` (see context.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from etude.context import Context, KvCache
from etude.contracts import OptimizerParameter, ParameterKind, Vocab
from etude.inputs import Inputs, Targets, last_real, pad_left, pad_right


class Mixer(nn.Module, ABC):
    """The group `architecture/mixer`: lets positions look at one another."""

    kv_shape: tuple[int, int] | None = None
    """Heads and width of its keys, where learned ones may stand beside them (see `Context`)."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        """Mixes along the sequence, within what the context lets be seen."""


@dataclass(frozen=True)
class Parts:
    """What a mixer, an MLP, a norm or a position is built with."""

    dim: int
    n_heads: int
    causal: bool = True
    """Whether its stack reads from left to right."""
    table_dim: int | None = None
    """Width of the token table; null = dim."""
    key_dim: int | None = None
    """Width of the queries and keys of a head; null = dim / n_heads."""

    @property
    def embedding_dim(self) -> int:
        """Width of the embedded tokens, before they become `dim` wide."""
        return self.table_dim or self.dim

    @property
    def head_dim(self) -> int:
        """Width of the queries and keys of a head."""
        return self.key_dim or self.dim // self.n_heads


@dataclass(frozen=True)
class BlockParts:
    """What the block of a layer joins. `cross` is there in a decoder that reads a source."""

    norm: Callable[[], nn.Module]
    mixer: Mixer
    mlp: nn.Module
    dropout: float = 0.0
    cross: Mixer | None = None
    layer: int = 0


class Block(nn.Module, ABC):
    """The group `architecture/block`: one layer."""

    final_norm: bool = True
    """Whether the stack must still be normalised after its last block."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        """Returns the residual stream after this layer."""


@dataclass(frozen=True)
class HeadParts:
    """What a head is built with: it reads `dim` and, before its last map, has `embedding_dim`."""

    dim: int
    embedding_dim: int
    n_vocab: int
    norm: Callable[[], nn.Module]
    """A norm of `embedding_dim` features."""


class Head(nn.Module, ABC):
    """The group `architecture/head`: hidden states to the scores of every token id."""

    out: nn.Linear
    """The last map, whose weight a network may share with its token table."""

    @abstractmethod
    def forward(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        """Returns logits."""


class SideLoss(nn.Module, ABC):
    """A layer with something of its own to say about a step, beside its output."""

    real: Bool[Tensor, "batch seq"] | None = None
    """Which tokens of this pass are not padding; None = all. The stack says so."""

    @abstractmethod
    def take(self) -> Float[Tensor, ""] | None:
        """Returns what it adds to the loss: a sum over the real tokens since the last call."""

    @abstractmethod
    def settle(self, over_ranks: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Called once a step, after the gradients; returns what to log of the step, by name.

        `over_ranks` sums a tensor over the data-parallel processes.
        """


ROWS = 64
"""Rows are scored in multiples of this on a CPU, where each shape of a matrix product leaves its
kernel in memory, between the tensors, so that what is freed there does not come together."""


class Network(nn.Module, ABC):
    """The group `architecture`: tokens to hidden states to logits."""

    vocab: Vocab
    dim: int

    @abstractmethod
    def states(
        self, inputs: Inputs, cache: KvCache | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        """Hidden states of the target side, ready for the head."""

    @abstractmethod
    def logits(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        """Scores of every token id."""

    def forward(
        self,
        inputs: Inputs,
        where: Bool[Tensor, "batch seq"] | None = None,
        cache: KvCache | None = None,
    ) -> Float[Tensor, "... vocab"]:
        """Returns logits: [batch seq vocab], or [n vocab] of the n positions `where` is true."""
        states = self.states(inputs, cache)
        if where is None:
            return self.logits(states)
        chosen = states[where]
        n = len(chosen)
        rest = -n % ROWS if chosen.device.type == "cpu" else 0
        return self.logits(F.pad(chosen, (0, 0, 0, rest)))[:n]

    def prompt(self, prompts: Sequence[Sequence[int]], *, whole: bool = False) -> Inputs:
        """Inputs from which generation goes on: prompts padded on the left.

        With `whole`, the tokens of a prompt see one another (see Capability.PREFIX).
        """
        inputs = pad_left(prompts, self.vocab.pad)
        prefix = torch.ones_like(inputs.tokens, dtype=torch.bool) if whole else None
        return replace(inputs, prefix=prefix)

    def answer(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, whole: bool = False
    ) -> Targets:
        """Lays out (prompt, completion) pairs so that the completion is predicted.

        Here each row is prompt + completion, shifted by one; a network that reads a source
        puts the prompt there. With `whole`, the tokens of a prompt see one another.
        """
        rows = pad_right([[*prompt, *completion] for prompt, completion in pairs], self.vocab.pad)
        index = torch.arange(rows.tokens.shape[1] - 1)[None]
        first = torch.tensor([len(prompt) - 1 for prompt, _ in pairs])[:, None]
        last = torch.tensor([len(prompt) + len(completion) - 1 for prompt, completion in pairs])
        inputs = Inputs(  # without the last token of each row, which has nothing to predict
            rows.tokens[:, :-1],
            None if rows.documents is None else rows.documents[:, 1:],
            prefix=index <= first if whole else None,
        )
        return Targets(inputs, rows.tokens[:, 1:], (index >= first) & (index < last[:, None]))

    def read(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> tuple[Inputs, Bool[Tensor, "batch seq"]]:
        """Lays out (prompt, completion) pairs to be judged, and where the state is that saw all.

        Here it is that of the last token; a network that sees both sides reads its first.
        """
        pad = self.vocab.pad  # stands for what would come next: the last token is read, too
        laid = self.answer([(prompt, [*completion, pad]) for prompt, completion in pairs])
        return laid.inputs, last_real(laid.inputs)


def shard(network: Network, mesh: DeviceMesh) -> None:
    """Spreads every block, and what is left of the network, over the mesh's devices (FSDP2)."""
    for module in network.modules():
        if isinstance(module, Block):
            fully_shard(module, mesh=mesh)
    fully_shard(network, mesh=mesh)


def optimizer_parameters(module: nn.Module) -> list[OptimizerParameter]:
    """Every trainable parameter once, with what it is; of an objective's network without prefix."""
    modules = list(module.modules())
    tables = {id(m.weight) for m in modules if isinstance(m, nn.Embedding)}
    inside = {id(p) for m in modules if isinstance(m, Block) for p in m.parameters()}

    def kind(tensor: nn.Parameter) -> ParameterKind:
        if id(tensor) in tables:
            return ParameterKind.EMBEDDING
        if tensor.ndim < 2:
            return ParameterKind.VECTOR
        return ParameterKind.MATRIX if id(tensor) in inside else ParameterKind.HEAD

    return [
        OptimizerParameter(name.removeprefix("network."), tensor, kind(tensor))
        for name, tensor in module.named_parameters()
        if tensor.requires_grad
    ]
