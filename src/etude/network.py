"""What a network is made of, and what a layer may know.

A network is a stack of blocks; a block joins a mixer, an MLP and norms; all of them are plugins.
Layers never see a dense mask. They see a `Context` - who may look at whom, in words - and
`attend` turns it into the fastest kernel that says the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from etude.contracts import OptimizerParameter, ParameterKind, Vocab
from etude.inputs import Inputs, Targets, pad_left, pad_right


@dataclass
class Memory:
    """What an encoder made of a source, for the decoder to look at."""

    states: Float[Tensor, "batch source dim"]
    documents: Int[Tensor, "batch source"] | None


class KvCache:
    """Keys and values of the tokens read so far: one pair of tensors a layer, written in place."""

    def __init__(self, max_len: int) -> None:
        self.max_len = max_len
        self.length = 0
        self.memory: Memory | None = None
        self._documents: Int[Tensor, "batch keys"] | None = None
        self._next_position: Int[Tensor, "#batch 1"] | None = None
        self._self: dict[int, tuple[Tensor, Tensor]] = {}
        self._cross: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Writes this pass's keys and values of a layer; returns all of them so far."""
        batch, heads, seq, head_dim = k.shape
        if layer not in self._self:
            room = (batch, heads, self.max_len, head_dim)
            self._self[layer] = (k.new_empty(room), v.new_empty(room))
        end = self.length + seq
        keys, values = self._self[layer]
        keys[:, :, self.length : end] = k
        values[:, :, self.length : end] = v
        return keys[:, :, :end], values[:, :, :end]

    def cross(
        self, layer: int, project: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the source: projected in the first pass, kept for the others."""
        if layer not in self._cross:
            self._cross[layer] = project()
        return self._cross[layer]

    def positions(self, inputs: Inputs) -> Int[Tensor, "#batch seq"]:
        """Places of this pass's tokens, which continue the last document of each row."""
        if self._next_position is None:
            return inputs.positions()
        return self._next_position + torch.arange(
            inputs.tokens.shape[1], device=inputs.tokens.device
        )

    def documents(self, inputs: Inputs) -> Int[Tensor, "batch keys"] | None:
        """Documents of all keys so far and of this pass; None if nothing was ever padded."""
        if self._documents is None and (self.length == 0 or inputs.documents is None):
            return inputs.documents
        new = inputs.documents if inputs.documents is not None else torch.ones_like(inputs.tokens)
        old = self._documents
        if old is None:
            old = new.new_ones((new.shape[0], self.length))
        return torch.cat((old, new), dim=1)

    def advance(self, inputs: Inputs) -> None:
        """Closes a pass: the next one goes on behind it."""
        self._documents, positions = self.documents(inputs), self.positions(inputs)
        self._next_position = positions[:, -1:] + 1
        self.length += inputs.tokens.shape[1]


class Position(nn.Module):
    """Tells order. Each kind implements one of three hooks; the others say nothing."""

    def embed(
        self, x: Float[Tensor, "batch seq dim"], positions: Int[Tensor, "#batch seq"]
    ) -> Float[Tensor, "batch seq dim"]:
        """Adds order to the embedded tokens."""
        return x

    def rotate(
        self, x: Float[Tensor, "batch heads seq head_dim"], context: "Context"
    ) -> Float[Tensor, "batch heads seq head_dim"]:
        """Turns queries or keys by their positions."""
        return x

    def bias(self, context: "Context") -> Float[Tensor, "#batch heads queries keys"] | None:
        """Adds to attention logits, by distance."""
        return None


@dataclass
class Context:
    """Who may look at whom, in one forward pass.

    A key is visible if it belongs to the query's document and, when `causal`, does not come
    after the query. With `memory` set, keys and values are the source's instead of the queries'.
    """

    position: Position
    positions: Int[Tensor, "#batch seq"]
    causal: bool
    documents: Int[Tensor, "batch seq"] | None = None
    key_documents: Int[Tensor, "batch keys"] | None = None
    memory: Memory | None = None
    cache: KvCache | None = None
    source: "Context | None" = None
    """How the same queries see the source, where there is one."""
    memo: dict[str, Tensor | None] = field(default_factory=dict)

    def once(self, name: str, compute: Callable[[], Tensor | None]) -> Tensor | None:
        """Returns `compute()`, computed by the first layer of the pass that asks for `name`."""
        if name not in self.memo:
            self.memo[name] = compute()
        return self.memo[name]

    def visible(self, n_keys: int) -> Bool[Tensor, "#batch 1 seq keys"] | None:
        """Which keys each query sees; None = all. Padding sees everything and nothing sees it."""
        n_queries, device = self.positions.shape[1], self.positions.device
        seen = None
        if self.causal and n_queries > 1:
            order = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
            seen = order.tril(n_keys - n_queries)[None, None]
        if self.key_documents is None:
            return seen
        keys = self.key_documents[:, None, None, :]
        queries = keys.new_ones(()) if self.documents is None else self.documents[:, None, :, None]
        same = keys == queries
        return (same if seen is None else same & seen) | (queries == 0)


def attend(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch kv_heads keys head_dim"],
    v: Float[Tensor, "batch kv_heads keys head_dim"],
    context: Context,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Scaled dot-product attention over what `context` lets each query see."""
    if k.shape[1] != q.shape[1]:
        repeats = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
    bias = context.once("bias", lambda: context.position.bias(context))
    whole = context.key_documents is None and bias is None
    if whole and context.causal and q.shape[2] == k.shape[2]:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    mask = context.once("visible", lambda: context.visible(k.shape[2]))
    if bias is not None:
        mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Mixer(nn.Module, ABC):
    """The group `architecture/mixer`: lets positions look at one another."""

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
    layer: int = 0

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.n_heads


@dataclass(frozen=True)
class BlockParts:
    """What a block joins. `cross` is there in a decoder that reads a source."""

    norm: Callable[[], nn.Module]
    mixer: Mixer
    mlp: nn.Module
    dropout: float = 0.0
    cross: Mixer | None = None


class Block(nn.Module, ABC):
    """The group `architecture/block`: one layer."""

    final_norm: bool = True
    """Whether the stack must still be normalised after its last block."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch seq dim"], context: Context
    ) -> Float[Tensor, "batch seq dim"]:
        """Returns the residual stream after this layer."""


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
        return self.logits(states if where is None else states[where])

    def prompt(self, prompts: Sequence[Sequence[int]]) -> Inputs:
        """Inputs from which generation goes on: prompts padded on the left."""
        return pad_left(prompts, self.vocab.pad)

    def answer(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Targets:
        """Lays out (prompt, completion) pairs so that the completion is predicted.

        Here each row is prompt + completion, shifted by one; a network that reads a source
        puts the prompt there.
        """
        rows = pad_right([[*prompt, *completion] for prompt, completion in pairs], self.vocab.pad)
        index = torch.arange(rows.tokens.shape[1] - 1)[None]
        first = torch.tensor([len(prompt) - 1 for prompt, _ in pairs])[:, None]
        last = torch.tensor([len(prompt) + len(completion) - 1 for prompt, completion in pairs])
        inputs = Inputs(  # without the last token of each row, which has nothing to predict
            rows.tokens[:, :-1], None if rows.documents is None else rows.documents[:, 1:]
        )
        return Targets(inputs, rows.tokens[:, 1:], (index >= first) & (index < last[:, None]))


def shard(network: Network, mesh: DeviceMesh) -> None:
    """Spreads every block, and what is left of the network, over the mesh's devices (FSDP2)."""
    for module in network.modules():
        if isinstance(module, Block):
            fully_shard(module, mesh=mesh)
    fully_shard(network, mesh=mesh)


def optimizer_parameters(module: nn.Module) -> list[OptimizerParameter]:
    """Every trainable parameter once, with what it is: matrix, embedding or vector."""
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}

    def kind(tensor: nn.Parameter) -> ParameterKind:
        if id(tensor) in tables:
            return ParameterKind.EMBEDDING
        return ParameterKind.MATRIX if tensor.ndim > 1 else ParameterKind.VECTOR

    return [
        OptimizerParameter(name, tensor, kind(tensor))
        for name, tensor in module.named_parameters()
        if tensor.requires_grad
    ]
