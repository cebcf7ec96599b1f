"""Prefix language modelling: reads the start of a text as a whole and predicts the rest.

Raffel et al. 2019 (T5), https://arxiv.org/abs/1910.10683, sections 3.2.1 and 3.3.1; Dong et al.
2019 (UniLM), https://arxiv.org/abs/1905.03197, section 2.3. A network with an encoder reads the
prefix as its source; in any other, the tokens of the prefix attend to one another.
Each text is cut at a uniformly random point, redrawn each time it is seen; the prefix may be empty,
the rest has at least one token. Each document of a packed row is a separate text. eos is a target
where a document ends, but not where only its row does; T5 ends every target with it.
Bits are counted over the bytes of the rest only, so they are not comparable to whole texts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from etude import Capability, Text, plugin, require
from etude.config import ObjectiveConfig, capabilities_of
from etude.data import TokenRow
from etude.network import Network
from etude.objective import (
    Ids,
    Loss,
    Objective,
    ObjectiveContext,
    TextBatch,
    document_tokens,
    perplexity,
    token_log_prob,
)


@dataclass
class PrefixLmConfig(ObjectiveConfig):
    """No knobs."""


@dataclass(frozen=True)
class PrefixExample:
    """The texts of a row, each split into a prefix and the rest."""

    pairs: list[tuple[Ids, Ids]]
    n_bytes: float
    """UTF-8 bytes of all the text to predict."""


def split_text(text: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Splits a text in two; the second part has at least one token if the text has any."""
    place = int(rng.integers(max(1, len(text))))
    return text[:place], text[place:]


@plugin(
    PrefixLmConfig,
    reads={Text},
    needs={Capability.PREFIX},
    lr=1e-3,
    data="python_docs",
    whole_prompt=True,
)
class PrefixLm(Objective[PrefixLmConfig, TextBatch]):
    """Learns p(rest | prefix); the loss is a mean over the tokens of the rest."""

    def __init__(self, config: PrefixLmConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        require(
            not tools.intra_document,
            "data.intra_document has no effect: each document is a separate sequence",
        )
        self.reads_source = Capability.SOURCE_TARGET in capabilities_of(tools.architecture)

    def example(self, record: TokenRow, rng: np.random.Generator) -> PrefixExample:
        vocab = self.tools.tokenizer.vocab
        n_bytes = 0
        pairs: list[tuple[Ids, Ids]] = []
        for text, ended in document_tokens(record, vocab):
            if len(text) > 0:
                before, after = split_text(text[: self.tools.seq_len].tolist(), rng)
                n_bytes += sum(len(self.tools.tokenizer.token_bytes[i]) for i in after)
                is_complete = ended and len(text) < self.tools.seq_len
                pairs.append((self.prompt(before), [*after, vocab.eos] if is_complete else after))
        return PrefixExample(pairs, float(n_bytes))

    def prompt(self, text: Ids) -> Ids:
        """A prefix as network input, in the format that `etude generate` uses for a prompt."""
        vocab = self.tools.tokenizer.vocab
        return vocab.source(text) if self.reads_source else vocab.prompt(text)

    def collate(self, examples: Sequence[PrefixExample]) -> TextBatch:
        pairs = [pair for example in examples for pair in example.pairs]
        blank = (self.prompt([]), [self.tools.tokenizer.vocab.eos])
        targets = self.network.answer(pairs or [blank], whole=True)
        targets.where &= bool(pairs)
        n_bytes = torch.tensor(sum(e.n_bytes for e in examples), dtype=torch.float64)
        return TextBatch(targets, n_bytes)

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        nll = -token_log_prob(self.network, batch.targets).sum()
        return Loss(nll, {"bytes": batch.n_bytes})

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        nll = means["loss"]
        n_bytes = means["bytes"]
        return {
            "loss": nll,
            "perplexity": perplexity(nll),
            "rest_bits_per_byte": nll / math.log(2) / n_bytes if n_bytes else math.nan,
        }

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        seq_len = self.tools.seq_len  # the network may have no positions beyond it
        first = [next(document_tokens(record, self.tools.tokenizer.vocab))[0] for record in records]
        starts = [text[: min(32, seq_len // 2 - 1)].tolist() for text in first]
        prompts = [self.prompt(start) for start in starts]
        written = self.continuations(prompts, min(96, seq_len - seq_len // 2))
        decode = self.tools.tokenizer.decode
        return [f"{decode(s)} [...] {w}" for s, w in zip(starts, written, strict=True)]
