"""Masked language modelling: masks some tokens and predicts them from both sides.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, section 3.1; new masks each time a text
is seen: Liu et al. 2019 (RoBERTa), https://arxiv.org/abs/1907.11692.
`objective/masking` chooses how tokens are selected.
Where implementations differ: the budget is max(1, round(ratio x text tokens)), a fixed count as in
BERT, without its cap, where Hugging Face draws for each token; special tokens do not count, and
are neither selected nor drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from etude import Capability, Text, option, plugin
from etude.config import MaskingConfig, build
from etude.data import TokenRow
from etude.network import Inputs, Network, to_fp32
from etude.objective import SAMPLE, Loss, Objective, ObjectiveContext, TextBatch, rng

from ._masking import MaskedConfig, MaskedRow, Masking, masked_row, masked_targets


@dataclass
class MlmConfig(MaskedConfig):
    masking: MaskingConfig = option("token")


@plugin(
    MlmConfig,
    reads={Text},
    needs={Capability.BOTH_SIDES},
    lr=1e-3,
    data="python_docs",
    tokens={"mask"},
)
class Mlm(Objective[MlmConfig, TextBatch]):
    """Learns p(masked token | all the others); the loss is a mean over the selected tokens."""

    def __init__(self, config: MlmConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.select: Masking = build(config.masking, tools.tokenizer)

    def example(self, record: TokenRow, rng: np.random.Generator) -> MaskedRow:
        tokenizer = self.tools.tokenizer
        seq_len = self.tools.seq_len
        return masked_row(record, seq_len, tokenizer, self.select, self.config, rng)

    def collate(self, examples: Sequence[MaskedRow]) -> TextBatch:
        pad = self.tools.tokenizer.vocab.pad
        n_bytes = torch.tensor(sum(e.n_bytes for e in examples), dtype=torch.float64)
        return TextBatch(
            masked_targets(examples, pad, intra_document=self.tools.intra_document), n_bytes
        )

    def count(self, batch: TextBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: TextBatch) -> Loss:
        targets = batch.targets
        logits = to_fp32(self.network(targets.inputs, targets.where))
        ids = targets.ids[targets.where]
        n_correct = (logits.argmax(-1) == ids).sum()
        return Loss(F.cross_entropy(logits, ids, reduction="sum"), {"accuracy": n_correct})

    def show(self, records: Sequence[TokenRow]) -> list[str]:
        examples = [self.example(r, rng(self.tools.seed, SAMPLE, i)) for i, r in enumerate(records)]
        inputs = [torch.from_numpy(e.masked)[None].to(self.device) for e in examples]
        best = [self.network(Inputs(ids)).argmax(-1)[0].cpu().numpy() for ids in inputs]
        filled = [np.where(e.selected, b, e.masked) for e, b in zip(examples, best, strict=True)]
        pieces = self.tools.tokenizer.pieces
        decode = self.tools.tokenizer.decode
        pairs = zip(examples, filled, strict=True)
        return [f"{''.join(pieces(e.masked))} [...] {decode(text)}" for e, text in pairs]
