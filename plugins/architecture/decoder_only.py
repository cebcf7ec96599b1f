"""Decoder-only transformer: every token is predicted from those before it.

Radford et al. 2018 (GPT), https://openai.com/index/language-unsupervised; Liu et al. 2018,
https://arxiv.org/abs/1801.10198, section 4.2.3.
"""

from dataclasses import dataclass

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
from etude.network import Inputs, KvCache, Stack, StackNetwork


@dataclass
class DecoderOnlyConfig(StackConfig):
    """The choice of parts gives GPT-2, LLaMA or similar models."""

    stream: StreamConfig = option("plain")
    block: BlockConfig = option("prenorm")
    mixer: MixerConfig = option("attention")
    mlp: MlpConfig = option("gelu")
    norm: NormConfig = option("layernorm")
    position: PositionConfig = option("learned")
    head: HeadConfig = option("linear")
    init: InitConfig = option("scaled")


@plugin(
    DecoderOnlyConfig,
    provides={
        Capability.NEXT_TOKEN,
        Capability.PREFIX,
        Capability.GENERATE,
        Capability.HIDDEN,
    },
)
class DecoderOnly(StackNetwork):
    """embedding -> causal blocks -> norm -> head."""

    def __init__(self, config: DecoderOnlyConfig, vocab: Vocab) -> None:
        super().__init__(config, vocab)
        self.stack = Stack(config, vocab, causal=True)
        self.initialise(config)

    def states(
        self, inputs: Inputs, cache: KvCache | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        return self.stack(self.embedding(inputs.tokens), inputs, cache)
