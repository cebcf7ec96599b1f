"""Encoder-only transformer: every position sees the whole text.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805.
Deviation: no segment embeddings and no pooler; the head is one linear map.
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
class EncoderOnlyConfig(StackConfig):
    """BERT and its kin are choices of blocks."""

    block: BlockConfig = option("prenorm")
    mixer: MixerConfig = option("attention")
    mlp: MlpConfig = option("gelu")
    norm: NormConfig = option("layernorm")
    position: PositionConfig = option("learned")


@plugin(EncoderOnlyConfig, provides={Capability.BOTH_SIDES, Capability.HIDDEN})
class EncoderOnly(Network):
    """embedding -> blocks that look both ways -> norm -> head."""

    def __init__(self, config: EncoderOnlyConfig, vocab: Vocab) -> None:
        super().__init__()
        self.vocab = vocab
        self.dim = config.dim
        self.embedding = nn.Embedding(vocab.size, config.dim)
        self.stack = Stack(config, causal=False)
        self.head = nn.Linear(config.dim, vocab.size)
        initialise(self, config)
        if config.tie:
            self.head.weight = self.embedding.weight

    def states(
        self, inputs: Inputs, cache: KvCache | None = None
    ) -> Float[Tensor, "batch seq dim"]:
        assert cache is None, "nothing that decodes step by step needs an encoder"
        return self.stack(self.embedding(inputs.tokens), inputs)

    def logits(self, states: Float[Tensor, "... dim"]) -> Float[Tensor, "... vocab"]:
        return self.head(states)
