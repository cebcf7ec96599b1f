"""Encoder-decoder transformer: encodes a source, then generates a target token by token.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; Raffel et al. 2019 (T5),
https://arxiv.org/abs/1910.10683.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from etude import Capability, option, plugin
from etude.config import (
    BlockConfig,
    HeadConfig,
    InitConfig,
    MixerConfig,
    MlpConfig,
    NormConfig,
    PositionConfig,
    StackConfig,
    StreamConfig,
)
from etude.data import Vocab
from etude.network import Inputs, KvCache, Memory, Stack, StackNetwork, Targets, pad_right


class Start(Enum):
    """The first input token of the decoder."""

    pad = "pad"
    bos = "bos"
    eos = "eos"


@dataclass
class EncoderDecoderConfig(StackConfig):
    """The choice of parts gives T5, BART or similar models; both stacks have `n_layers`."""

    stream: StreamConfig = option("plain")
    block: BlockConfig = option("prenorm")
    mixer: MixerConfig = option("attention")
    mlp: MlpConfig = option("gelu")
    norm: NormConfig = option("layernorm")
    position: PositionConfig = option("learned")
    head: HeadConfig = option("linear")
    init: InitConfig = option("scaled")
    start: Start = Start.pad
    """First input token of the decoder: pad as in T5, eos as in BART, or bos."""


@plugin(
    EncoderDecoderConfig,
    provides={
        Capability.SOURCE_TARGET,
        Capability.PREFIX,
        Capability.GENERATE,
        Capability.HIDDEN,
    },
)
class EncoderDecoder(StackNetwork):
    """One embedding for both stacks; decoder blocks also attend to the encoder's output."""

    def __init__(self, config: EncoderDecoderConfig, vocab: Vocab) -> None:
        super().__init__(config, vocab)
        self.start = {Start.pad: vocab.pad, Start.bos: vocab.bos, Start.eos: vocab.eos}[
            config.start
        ]
        self.encoder = Stack(config, vocab, causal=False)
        self.decoder = Stack(config, vocab, causal=True, reads_source=True)
        self.initialise(config)

    def states(
        self, inputs: Inputs, cache: KvCache | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        memory = None if cache is None else cache.memory
        if memory is None:
            source = inputs.source
            assert source is not None, "the first forward pass needs the source"
            states = self.encoder(self.embedding(source.tokens), source)
            memory = Memory(states, source.documents)
        if cache is not None:
            cache.memory = memory
        return self.decoder(self.embedding(inputs.tokens), inputs, cache, memory)

    def prompt(self, prompts: Sequence[Sequence[int]], *, whole: bool = False) -> Inputs:
        """Uses the prompt as the source, always bidirectional; the target is the start token."""
        start = torch.full((len(prompts), 1), self.start)
        return Inputs(start, source=pad_right(prompts, self.vocab.pad))

    def answer(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, whole: bool = False
    ) -> Targets:
        """Teacher forcing: the decoder reads the completion, shifted right by one token."""
        source = pad_right([prompt for prompt, _ in pairs], self.vocab.pad)
        target = pad_right([completion for _, completion in pairs], self.vocab.pad)
        shifted = F.pad(target.tokens[:, :-1], (1, 0), value=self.start)
        everywhere = torch.ones_like(target.tokens, dtype=torch.bool)
        where = everywhere if target.documents is None else target.documents > 0
        return Targets(Inputs(shifted, target.documents, source), target.tokens, where)
