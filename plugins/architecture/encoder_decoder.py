"""Encoder-decoder transformer: a source is read whole, a target is written token by token.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; Raffel et al. 2019 (T5),
https://arxiv.org/abs/1910.10683. The decoder starts from the pad token, as T5's does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.capability import Capability
from etude.contracts import Vocab
from etude.inputs import Inputs, Targets, pad_right
from etude.network import KvCache, Memory, Network
from etude.schema import (
    BlockConfig,
    MixerConfig,
    MlpConfig,
    NormConfig,
    PositionConfig,
    StackConfig,
    option,
)
from etude.stack import Stack, initialise


@dataclass
class EncoderDecoderConfig(StackConfig):
    """T5, BART and their kin are choices of blocks; both stacks have `n_layers`."""

    block: BlockConfig = option("prenorm")
    mixer: MixerConfig = option("attention")
    mlp: MlpConfig = option("gelu")
    norm: NormConfig = option("layernorm")
    position: PositionConfig = option("learned")


@plugin(
    EncoderDecoderConfig,
    provides={Capability.SOURCE_TARGET, Capability.GENERATE, Capability.HIDDEN},
)
class EncoderDecoder(Network):
    """One embedding for both sides; decoder blocks also look at the encoder's last states."""

    def __init__(self, config: EncoderDecoderConfig, vocab: Vocab) -> None:
        super().__init__()
        self.vocab = vocab
        self.dim = config.dim
        self.embedding = nn.Embedding(vocab.size, config.dim)
        self.encoder = Stack(config, causal=False)
        self.decoder = Stack(config, causal=True, reads_source=True)
        self.head = nn.Linear(config.dim, vocab.size, bias=False)
        initialise(self, config)
        if config.tie:
            self.head.weight = self.embedding.weight

    def states(
        self, inputs: Inputs, cache: KvCache | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        memory = None if cache is None else cache.memory
        if memory is None:
            source = inputs.source
            assert source is not None, "the first pass over a target brings its source"
            read = self.encoder(self.embedding(source.tokens), source)
            memory = Memory(read, source.documents)
        if cache is not None:
            cache.memory = memory
        return self.decoder(self.embedding(inputs.tokens), inputs, cache, memory)

    def logits(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        return self.head(states)

    def prompt(self, prompts: Sequence[Sequence[int]]) -> Inputs:
        """The prompt is the source; the target starts from the pad token."""
        start = torch.full((len(prompts), 1), self.vocab.pad)
        return Inputs(start, source=pad_right(prompts, self.vocab.pad))

    def answer(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Targets:
        """Teacher forcing: the decoder reads the completion shifted right by the pad token."""
        source = pad_right([prompt for prompt, _ in pairs], self.vocab.pad)
        due = pad_right([completion for _, completion in pairs], self.vocab.pad)
        given = F.pad(due.tokens[:, :-1], (1, 0), value=self.vocab.pad)
        everywhere = torch.ones_like(due.tokens, dtype=torch.bool)
        where = everywhere if due.documents is None else due.documents > 0
        return Targets(Inputs(given, due.documents, source), due.tokens, where)
