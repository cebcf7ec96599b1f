"""The state of a generation in progress: keys, values and encoder states."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude.network.inputs import Inputs


@dataclass
class Memory:
    """The encoder states of a source, for the decoder's cross-attention."""

    states: Float[Tensor, "batch source dim"]
    documents: Int[Tensor, "batch source"] | None


class KvCache:
    """Keys and values of the tokens read so far: one tensor per layer, written in place."""

    def __init__(self, max_len: int) -> None:
        self.max_len = max_len
        self.length = 0
        self.memory: Memory | None = None
        self.states: dict[tuple[int, str], Tensor] = {}
        """By layer and name, the states of mixers that cache no keys and values; batch first."""
        self._documents: Int[Tensor, "batch max_len"] | None = None
        self._positions: Int[Tensor, "#batch max_len"] | None = None
        self._tokens: dict[int, Tensor] = {}
        self._self: dict[int, Tensor] = {}
        self._cross: dict[int, tuple[Tensor, Tensor]] = {}

    def extend(
        self, layer: int, k: Tensor, v: Tensor, learned: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Stores a layer's new keys and values; returns all so far, preceded by `learned`."""
        n_learned = 0 if learned is None else learned[0].shape[1]
        if layer not in self._self:
            batch, heads, _, head_dim = k.shape
            buffer = k.new_empty((2, batch, heads, n_learned + self.max_len, head_dim))
            if learned is not None:
                buffer[:, :, :, :n_learned] = torch.stack(learned)[:, None]
            self._self[layer] = buffer
        start = n_learned + self.length
        end = n_learned + self.length + k.shape[2]
        stored = self._self[layer]
        stored[0, :, :, start:end] = k
        stored[1, :, :, start:end] = v
        return stored[0, :, :, :end], stored[1, :, :, :end]

    def append(
        self, layer: int, x: Float[Tensor, "batch seq width"]
    ) -> Float[Tensor, "batch keys width"]:
        """Stores a vector per new token, from which a layer computes keys and values; returns all.

        For layers that compress keys and values; the others use `extend`.
        """
        if layer not in self._tokens:
            self._tokens[layer] = x.new_empty((x.shape[0], self.max_len, x.shape[2]))
        end = self.length + x.shape[1]
        self._tokens[layer][:, self.length : end] = x
        return self._tokens[layer][:, :end]

    def cross(
        self, layer: int, project: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Returns keys and values of the source: projected in the first pass, then reused."""
        if layer not in self._cross:
            self._cross[layer] = project()
        return self._cross[layer]

    def positions(self, inputs: Inputs) -> Int[Tensor, "#batch keys"]:
        """Returns the positions of all tokens so far and of this pass, which continues each row."""
        end = self.length + inputs.tokens.shape[1]
        if self._positions is None:
            first = inputs.positions()
            steps = torch.arange(1, self.max_len - end + 1, device=first.device)
            self._positions = torch.cat((first, first[:, -1:] + steps), dim=1)
        return self._positions[:, :end]

    def documents(self, inputs: Inputs) -> Int[Tensor, "batch keys"] | None:
        """Returns the document ids of all keys, with those of this pass; None without padding."""
        end = self.length + inputs.tokens.shape[1]
        if inputs.documents is not None:
            if self._documents is None:
                shape = (inputs.tokens.shape[0], self.max_len)
                self._documents = inputs.documents.new_ones(shape)
            self._documents[:, self.length : end] = inputs.documents
        return None if self._documents is None else self._documents[:, :end]

    def advance(self, inputs: Inputs) -> None:
        """Ends a pass: the next one continues after it."""
        self.length += inputs.tokens.shape[1]

    def select_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Drops all rows except these."""
        self.states = {key: state[rows] for key, state in self.states.items()}
        self._tokens = {layer: x[rows] for layer, x in self._tokens.items()}
        self._self = {layer: kv[:, rows] for layer, kv in self._self.items()}
        self._cross = {layer: (k[rows], v[rows]) for layer, (k, v) in self._cross.items()}
        if self.memory is not None:
            documents = self.memory.documents
            documents = None if documents is None else documents[rows]
            self.memory = Memory(self.memory.states[rows], documents)
        if self._documents is not None:
            self._documents = self._documents[rows]
        if self._positions is not None and self._positions.shape[0] > 1:
            self._positions = self._positions[rows]
