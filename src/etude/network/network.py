"""The base class of networks.

A network is a stack of blocks; a block combines a mixer, an MLP and norms; all are plugins.
A `Context` defines which positions a layer sees (see context.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from etude.data.vocab import Vocab
from etude.network.inputs import Inputs, Targets, last_real, pad_left, pad_right
from etude.network.kv_cache import KvCache
from etude.network.parts import Block

ROWS = 64
"""On a CPU, the number of rows for the head is padded to a multiple of this: the kernel of each
matmul shape stays in memory between the tensors, which fragments the heap."""


class Network(nn.Module, ABC):
    """The group `architecture`: tokens to hidden states to logits."""

    vocab: Vocab
    dim: int
    lr_factors: Mapping[str, float] = {}
    """Factors of the learning rates of some parameters, by name; an initialisation may set them."""

    @abstractmethod
    def states(
        self, inputs: Inputs, cache: KvCache | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        """Returns the hidden states for the head; in an encoder-decoder, of the target."""

    @abstractmethod
    def logits(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        """Returns the logits of every token id."""

    def forward(
        self,
        inputs: Inputs,
        where: Bool[Tensor, "batch seq"] | None = None,
        cache: KvCache | None = None,
    ) -> Float[Tensor, "... vocab"]:
        """Returns logits: [batch seq vocab], or [n vocab] at the n positions `where` is true."""
        states = self.states(inputs, cache)
        return self.logits(states) if where is None else self.logits_at(states, where)

    def logits_at(
        self, states: Float[Tensor, "batch seq dim"], where: Bool[Tensor, "batch seq"]
    ) -> Float[Tensor, "n vocab"]:
        """Returns the logits of the n states `where` is true."""
        selected = states[where]
        n = len(selected)
        n_pad = -n % ROWS if selected.device.type == "cpu" else 0
        return self.logits(F.pad(selected, (0, 0, 0, n_pad)))[:n]

    def prompt(self, prompts: Sequence[Sequence[int]], *, whole: bool = False) -> Inputs:
        """Returns the inputs of generation: prompts padded on the left.

        With `whole`, the tokens of a prompt see one another (see Capability.PREFIX).
        """
        inputs = pad_left(prompts, self.vocab.pad)
        prefix = torch.ones_like(inputs.tokens, dtype=torch.bool) if whole else None
        return replace(inputs, prefix=prefix)

    def answer(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, whole: bool = False
    ) -> Targets:
        """Lays out (prompt, completion) pairs so that the completion is predicted.

        Here each row is prompt + completion, shifted by one; an encoder-decoder uses the prompt
        as the source. With `whole`, the tokens of a prompt see one another.
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
        """Lays out (prompt, completion) pairs to score, and marks the state that has seen them.

        Here it is that of the last token; a bidirectional network uses the first.
        """
        pad = self.vocab.pad  # a dummy target, so that the inputs include the last token
        targets = self.answer([(prompt, [*completion, pad]) for prompt, completion in pairs])
        return targets.inputs, last_real(targets.inputs)


def set_dropout(module: nn.Module, rate: float) -> list[float]:
    """Sets the rate of every `nn.Dropout` in a module; returns the other rates that it replaces."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
    replaced = sorted({layer.p for layer in layers} - {rate})
    for layer in layers:
        layer.p = rate
    return replaced


def shard(network: Network, mesh: DeviceMesh) -> None:
    """Shards every block, and the rest of the network, over the mesh's devices (FSDP2)."""
    for module in network.modules():
        if isinstance(module, Block):
            fully_shard(module, mesh=mesh)
    fully_shard(network, mesh=mesh)
