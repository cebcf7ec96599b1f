"""Denoising for decoders and encoder-decoders: reads a corrupted text and writes what is missing.

Tay et al. 2022 (UL2), https://arxiv.org/abs/2205.05131, sections 3.1 and 3.3. An encoder-decoder
reads the corrupted text as its source. A decoder reads it as a prefix whose tokens attend to one
another, as in UL2R: Tay et al. 2022, https://arxiv.org/abs/2210.11399, section 3.
`objective/corruption` chooses the noise; the default is UL2's mixture of denoisers.
Deviation: a decoder's input and target have at most half of data.seq_len each.
Packed documents follow one another without special tokens, as in `objective=seq2seq`. To use a mode
in `etude generate`, start the prompt with its token, such as <sentinel_98> for S.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from etude import Capability, Text, option, plugin, require
from etude.config import CorruptionConfig, ObjectiveConfig, build, capabilities_of
from etude.data import Samples, TokenRow, TokenRows
from etude.network import Network
from etude.objective import (
    SAMPLE,
    Corruption,
    IdPair,
    Loss,
    Objective,
    ObjectiveContext,
    TextBatch,
    perplexity,
    rng,
    token_log_prob,
)


@dataclass
class Ul2Config(ObjectiveConfig):
    corruption: CorruptionConfig = option("ul2")


@plugin(
    Ul2Config,
    reads={Text},
    needs={Capability.PREFIX},
    lr=1e-3,
    data="python_docs",
    whole_prompt=True,
)
class Ul2(Objective[Ul2Config, TextBatch]):
    """Learns p(target | corrupted text); the loss is a mean over target tokens."""

    def __init__(self, config: Ul2Config, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        require(
            not tools.intra_document, "data.intra_document has no effect: a row is a single text"
        )
        self.corrupt: Corruption = build(config.corruption, tools.tokenizer)
        self.reads_source = Capability.SOURCE_TARGET in capabilities_of(tools.architecture)

    @cached_property
    def n_raw_tokens(self) -> int:
        """Text tokens of a row before its corruption."""
        seq_len = self.tools.seq_len
        return self.corrupt.raw_length(seq_len if self.reads_source else seq_len // 2)

    def select_samples(self, samples: Samples) -> Samples:
        """Resizes rows of text so that corrupted rows fit."""
        assert isinstance(samples, TokenRows), "it reads Text alone"
        return samples.without_bos_eos(self.n_raw_tokens)

    def example(self, record: TokenRow, rng: np.random.Generator) -> tuple[IdPair, float]:
        vocab = self.tools.tokenizer.vocab
        text = record.tokens[~np.isin(record.tokens, list(vocab.special))]
        source, target = (part.tolist() for part in self.corrupt(text[: self.n_raw_tokens], rng))
        prompt = vocab.source(source) if self.reads_source else vocab.prompt(source)
        return (prompt, [*target, vocab.eos]), record.n_bytes

    def collate(self, examples: Sequence[tuple[IdPair, float]]) -> TextBatch:
        targets = self.network.answer([pair for pair, _ in examples], whole=True)
        n_bytes = torch.tensor(sum(n for _, n in examples), dtype=torch.float64)
        return TextBatch(targets, n_bytes)

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        return Loss(-token_log_prob(self.network, batch.targets).sum())

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return {**means, "perplexity": perplexity(means["loss"])}

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        keyed = [self.example(r, rng(self.tools.seed, SAMPLE, i)) for i, r in enumerate(records)]
        prompts = [prompt for (prompt, _), _ in keyed]
        written = self.continuations(prompts, self.tools.seq_len // 2)
        sources = ["".join(self.tools.tokenizer.pieces(prompt)) for prompt in prompts]
        return [f"{s} [...] {w}" for s, w in zip(sources, written, strict=True)]
