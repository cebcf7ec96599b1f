"""Selects the tokens to predict and replaces them in the input, as in BERT.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, section 3.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Int

from etude import require
from etude.config import ObjectiveConfig
from etude.data import Tokenizer, TokenRow
from etude.network import Inputs, Targets, pad_right

Masking: TypeAlias = Callable[
    [Int[np.ndarray, " seq"], int, np.random.Generator], Int[np.ndarray, " seq"]
]
"""(tokens, budget, rng) -> per position, id of the group masked together; 0 = not selected."""


@dataclass
class MaskedConfig(ObjectiveConfig):
    """Base config of the masking objectives; each declares its own `masking` field."""

    mask_ratio: float = 0.15
    """Fraction of text tokens to predict, in (0, 1); 0.15 in BERT, 0.3 in ModernBERT."""
    mask_share: float = 0.8
    """Fraction of the selected tokens replaced by the mask token, in [0, 1]."""
    random_share: float = 0.1
    """Fraction of the selected tokens replaced by a random token; the rest stay unchanged."""

    def __post_init__(self) -> None:
        require(0 < self.mask_ratio < 1, f"mask_ratio must be in (0, 1), got {self.mask_ratio}")
        require(
            self.mask_share >= 0
            and self.random_share >= 0
            and self.mask_share + self.random_share <= 1,
            "mask_share and random_share must be 0 or more and sum to at most 1, got "
            f"{self.mask_share} and {self.random_share}",
        )


def mask(
    tokens: Int[np.ndarray, " seq"],
    tokenizer: Tokenizer,
    select: Masking,
    config: MaskedConfig,
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, " seq"], Bool[np.ndarray, " seq"]]:
    """Returns the masked tokens, and the positions to predict.

    The budget is max(1, round(ratio x text tokens)); special tokens are neither selected nor drawn.
    If no group of the row fits, the budget rises to its smallest word, then doubles until one does.
    """
    masked = tokens.copy()
    n_text = len(tokens) - int(np.isin(tokens, list(tokenizer.vocab.special)).sum())
    if n_text == 0:
        return masked, np.zeros(len(tokens), bool)
    groups = select(tokens, max(1, round(config.mask_ratio * n_text)), rng)
    budget = int(np.bincount(tokenizer.words(tokens))[1:].min())
    while not groups.any() and budget <= n_text:
        groups = select(tokens, budget, rng)
        budget *= 2
    if not groups.any():
        return masked, groups > 0
    selected = np.argsort(groups, kind="stable")[(groups == 0).sum() :]
    draw = rng.random(groups.max())[groups[selected] - 1]
    random = (config.mask_share <= draw) & (draw < config.mask_share + config.random_share)
    masked[selected[draw < config.mask_share]] = tokenizer.vocab.mask
    masked[selected[random]] = rng.choice(tokenizer.text_ids, int(random.sum()))
    return masked, groups > 0


@dataclass
class MaskedRow:
    """The masked row, the original row, the selected positions, and the document ids."""

    masked: Int[np.ndarray, " seq"]
    original: Int[np.ndarray, " seq"]
    selected: Bool[np.ndarray, " seq"]
    documents: Int[np.ndarray, " seq"]
    n_bytes: float


def masked_row(
    record: TokenRow,
    seq_len: int,
    tokenizer: Tokenizer,
    select: Masking,
    config: MaskedConfig,
    rng: np.random.Generator,
) -> MaskedRow:
    """Masks tokens of a row of text, truncated to `seq_len` tokens."""
    tokens = record.tokens[:seq_len]  # rows carry one more, for next-token targets
    masked, selected = mask(tokens, tokenizer, select, config, rng)
    return MaskedRow(masked, tokens, selected, record.documents[:seq_len], record.n_bytes)


def masked_targets(rows: Sequence[MaskedRow], pad: int, *, intra_document: bool) -> Targets:
    """Targets at the selected positions; `intra_document` confines attention to documents."""
    inputs = pad_right([row.masked.tolist() for row in rows], pad)
    ids = pad_right([row.original.tolist() for row in rows], pad).tokens
    where = pad_right([row.selected.tolist() for row in rows], 0).tokens.bool()
    documents = inputs.documents
    if intra_document:
        documents = pad_right([row.documents.tolist() for row in rows], 0).tokens
    return Targets(Inputs(inputs.tokens, documents), ids, where)
