"""Decoder-only transformer: every token is predicted from those before it.

Radford et al. 2018 (GPT), https://openai.com/index/language-unsupervised; Liu et al. 2018,
https://arxiv.org/abs/1801.10198, section 4.2.3.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from etude import plugin
from etude.capability import Capability
from etude.contracts import Vocab
from etude.inputs import Inputs
from etude.network import KvCache, Network
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
class DecoderOnlyConfig(StackConfig):
    """GPT-2, LLaMA and their kin are choices of blocks."""

    block: BlockConfig = option("prenorm")
    mixer: MixerConfig = option("attention")
    mlp: MlpConfig = option("gelu")
    norm: NormConfig = option("layernorm")
    position: PositionConfig = option("learned")


@plugin(
    DecoderOnlyConfig,
    provides={Capability.NEXT_TOKEN, Capability.GENERATE, Capability.HIDDEN},
)
class DecoderOnly(Network):
    """embedding -> causal blocks -> norm -> head."""

    def __init__(self, config: DecoderOnlyConfig, vocab: Vocab) -> None:
        super().__init__()
        self.vocab = vocab
        self.dim = config.dim
        self.embedding = nn.Embedding(vocab.size, config.dim)
        self.stack = Stack(config, causal=True)
        self.head = nn.Linear(config.dim, vocab.size, bias=False)
        initialise(self, config)
        if config.tie:
            self.head.weight = self.embedding.weight

    def states(
        self, inputs: Inputs, cache: KvCache | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        return self.stack(self.embedding(inputs.tokens), inputs, cache)

    def logits(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        return self.head(states)
