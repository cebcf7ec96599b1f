"""Masked language modelling: hide some tokens, predict them from both sides.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, section 3.1; masks drawn anew each
time a text is seen: Liu et al. 2019 (RoBERTa), https://arxiv.org/abs/1907.11692.
Which tokens are selected is a choice of its own: `objective/masking`.
Choices where sources differ: the budget is max(1, round(ratio x text tokens)), a fixed count as
in BERT, with no cap, where Hugging Face draws a coin for each token; special tokens do not count,
and are neither selected nor drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int

from etude import plugin
from etude.batches import TextBatch
from etude.capability import Capability
from etude.contracts import TokenRow
from etude.functional import wide
from etude.inputs import Inputs, Targets, pad_right
from etude.loss import Loss
from etude.masking import MaskedConfig, Masking, mask
from etude.network import Network
from etude.objective import Objective, Tools
from etude.records import Text
from etude.registry import build
from etude.schema import MaskingConfig, option
from etude.window import SAMPLE, rng


@dataclass
class MlmConfig(MaskedConfig):
    masking: MaskingConfig = option("token")


@dataclass
class MaskedExample:
    """A row as the network sees it, the row as it was, and which places were selected."""

    given: Int[np.ndarray, " seq"]
    original: Int[np.ndarray, " seq"]
    selected: Bool[np.ndarray, " seq"]
    documents: Int[np.ndarray, " seq"]
    n_bytes: float


@plugin(MlmConfig, reads={Text}, needs={Capability.BOTH_SIDES}, lr=1e-3, data="python_docs")
class Mlm(Objective[MlmConfig, TextBatch]):
    """Learns p(hidden token | all the others); the loss is a mean over selected tokens."""

    def __init__(self, config: MlmConfig, network: Network, tools: Tools) -> None:
        super().__init__(config, network, tools)
        self.select: Masking = build(config.masking, tools.tokenizer)

    def example(self, record: TokenRow, rng: np.random.Generator) -> MaskedExample:
        tokens = record.tokens[: self.tools.seq_len]  # rows carry one more, for next-token targets
        documents = record.documents[: self.tools.seq_len]
        given, selected = mask(tokens, self.tools.tokenizer, self.select, self.config, rng)
        return MaskedExample(given, tokens, selected, documents, record.n_bytes)

    def collate(self, examples: Sequence[MaskedExample]) -> TextBatch:
        pad = self.tools.tokenizer.vocab.pad
        given = pad_right([e.given.tolist() for e in examples], pad)
        ids = pad_right([e.original.tolist() for e in examples], pad).tokens
        where = pad_right([e.selected.tolist() for e in examples], 0).tokens.bool()
        documents = given.documents
        if self.tools.confine:
            documents = pad_right([e.documents.tolist() for e in examples], 0).tokens
        n_bytes = torch.tensor(sum(e.n_bytes for e in examples), dtype=torch.float64)
        return TextBatch(Targets(Inputs(given.tokens, documents), ids, where), n_bytes)

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        targets = batch.targets
        logits = wide(self.network(targets.inputs, targets.where))
        ids = targets.ids[targets.where]
        right = (logits.argmax(-1) == ids).sum()
        return Loss(F.cross_entropy(logits, ids, reduction="sum"), {"accuracy": right})

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        examples = [self.example(r, rng(self.tools.seed, SAMPLE, i)) for i, r in enumerate(records)]
        given = [torch.from_numpy(e.given)[None].to(self.device) for e in examples]
        best = [self.network(Inputs(ids)).argmax(-1)[0].cpu().numpy() for ids in given]
        filled = [np.where(e.selected, b, e.given) for e, b in zip(examples, best, strict=True)]
        pieces, decode = self.tools.tokenizer.pieces, self.tools.tokenizer.decode
        pairs = zip(examples, filled, strict=True)
        return [f"{''.join(pieces(e.given))} [...] {decode(text)}" for e, text in pairs]
