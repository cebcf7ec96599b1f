"""Texts and pairs of texts as rows of every family, and the vector that a head reads of a row.

As in transformers' classes for sequence classification: the first state of an encoder, which has
segments 0 and 1 for the texts of a pair (Devlin et al. 2018, https://arxiv.org/abs/1810.04805,
section 3); the last state of a decoder; an encoder-decoder reads the text on both sides, and its
vector is the last state of the decoder (Lewis et al. 2019, https://arxiv.org/abs/1910.13461,
section 3.1). Deviations: one separator between the texts of a pair, where RoBERTa and BART have
two; the text of a decoder ends with eos, where most have no token for it.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from etude import Capability
from etude.config import ArchitectureConfig, StackConfig, capabilities_of
from etude.data import Vocab
from etude.network import Inputs, Network, pad_right, to_fp32
from etude.objective import Ids, ObjectiveContext

from ._pooling import Pooling, pooled


def family_pooling(architecture: ArchitectureConfig) -> Pooling:
    """The state that has seen the whole text."""
    is_encoder = Capability.BOTH_SIDES in capabilities_of(architecture)
    return Pooling.cls if is_encoder else Pooling.last


def cut_lengths(lengths: Sequence[int], room: int) -> list[int]:
    """The lengths of texts that fill `room` tokens together, the longest ones cut."""
    left: list[int] = []
    for rank, length in enumerate(sorted(lengths)):
        left.append(min(length, (room - sum(left)) // (len(lengths) - rank)))
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return [left[order.index(i)] for i in range(len(lengths))]


class TextRows:
    """Encodes texts, or pairs of texts, and computes their vectors."""

    def __init__(self, tools: ObjectiveContext, pooling: Pooling | None = None) -> None:
        self.tools = tools
        self.pooling = pooling or family_pooling(tools.architecture)
        self.reads_source = Capability.SOURCE_TARGET in capabilities_of(tools.architecture)
        stack = tools.architecture
        self.has_segments = isinstance(stack, StackConfig) and stack.n_segments > 1

    def encode(self, *texts: str) -> tuple[list[Ids], int]:
        """The ids of each text with its special tokens; and how many tokens do not fit."""
        vocab: Vocab = self.tools.tokenizer.vocab
        ids = [row.tolist() for row in self.tools.tokenizer.encode_batch(texts)]
        closing = vocab.closing or (vocab.eos,)
        room = self.tools.seq_len - len(vocab.opening) - len(ids) * len(closing)
        lengths = [len(row) for row in ids]
        kept = cut_lengths(lengths, room)
        rows = [[*row[:n], *closing] for row, n in zip(ids, kept, strict=True)]
        return [[*vocab.opening, *rows[0]], *rows[1:]], sum(lengths) - sum(kept)

    def inputs(self, network: Network, rows: Sequence[Sequence[Ids]]) -> Inputs:
        """Lays out the encoded texts of each row."""
        joined = [[i for part in row for i in part] for row in rows]
        if self.reads_source:  # the decoder reads the text, shifted by one
            return network.read([(ids, ids[:-1]) for ids in joined])[0]
        inputs = pad_right(joined, network.vocab.pad)
        if self.has_segments:
            numbers = [[n for n, part in enumerate(row) for _ in part] for row in rows]
            inputs.segments = pad_right(numbers, 0).tokens
        return inputs

    def vectors(self, network: Network, inputs: Inputs) -> Float[Tensor, "batch dim"]:
        """The vector of each row."""
        return to_fp32(pooled(network.states(inputs), inputs, self.pooling))
