"""Encoder-only transformer: every token attends to the whole text.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805.
Deviation: there is no pooler; use the first token's hidden state instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
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
from etude.network import Inputs, KvCache, Stack, StackNetwork, pad_right


@dataclass
class EncoderOnlyConfig(StackConfig):
    """The choice of parts gives BERT or similar models."""

    stream: StreamConfig = option("plain")
    block: BlockConfig = option("prenorm")
    mixer: MixerConfig = option("attention")
    mlp: MlpConfig = option("gelu")
    norm: NormConfig = option("layernorm")
    position: PositionConfig = option("learned")
    head: HeadConfig = option("linear")
    init: InitConfig = option("scaled")


@plugin(EncoderOnlyConfig, provides={Capability.BOTH_SIDES, Capability.HIDDEN})
class EncoderOnly(StackNetwork):
    """embedding -> bidirectional blocks -> norm -> head."""

    def __init__(self, config: EncoderOnlyConfig, vocab: Vocab) -> None:
        super().__init__(config, vocab)
        self.stack = Stack(config, vocab, causal=False)
        self.initialise(config)

    def states(
        self, inputs: Inputs, cache: KvCache | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        assert cache is None, "an encoder does not decode step by step"
        return self.stack(self.embedding(inputs.tokens), inputs)

    def read(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> tuple[Inputs, Bool[Tensor, "batch seq"]]:
        """Prompt, eos, completion as two segments: [cls] A [sep] B [sep] for an imported BERT.

        The returned mask selects the first token.
        """
        rows = [([*prompt, self.vocab.eos], completion) for prompt, completion in pairs]
        inputs = pad_right([[*before, *after] for before, after in rows], self.vocab.pad)
        if self.stack.segments is not None and self.stack.segments.num_embeddings > 1:
            segments = [[0] * len(before) + [1] * len(after) for before, after in rows]
            inputs.segments = pad_right(segments, 0).tokens
        where = torch.zeros_like(inputs.tokens, dtype=torch.bool)
        where[:, 0] = True
        return inputs, where
