"""Score heads of reward models, as transformers' AutoModelForSequenceClassification reads them.

Ours is weight . state + bias, of the last token's state in a decoder and of the first one's in an
encoder, as theirs; but theirs differ in what they compute from that state.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from etude.data.vocab import Vocab

HEAD = "head"
"""Name of an objective's score head, in the objective and in `model/`."""
LABELS = "labels"
"""Name of the head's labels among the facts in the manifest of `model/`."""
LINEAR = "score.weight"
"""Their tensor of a linear score."""
SCALE = 2.0**-14
"""Scores are multiplied by it before a tanh, which is linear there to the precision of fp32."""


class ScoreFormat(ABC):
    """Converts a score head to the tensors of a family."""

    @abstractmethod
    def tensors(
        self, weight: Float[Tensor, "1 dim"], bias: Float[Tensor, " 1"]
    ) -> dict[str, Tensor] | str:
        """Their tensors, or the reason why they cannot express the head."""


@dataclass(frozen=True)
class LinearScore(ScoreFormat):
    """score(state), without a bias: every decoder."""

    def tensors(
        self, weight: Float[Tensor, "1 dim"], bias: Float[Tensor, " 1"]
    ) -> dict[str, Tensor] | str:
        if bias.any():
            return f"its score head has a bias ({float(bias):.4g}), and transformers' has none"
        return {LINEAR: weight}


@dataclass(frozen=True)
class TanhScore(ScoreFormat):
    """out(tanh(dense(state))): BERT and its kin. `dense` and `out` are the names of the layers."""

    dense: str
    out: str

    def tensors(
        self, weight: Float[Tensor, "1 dim"], bias: Float[Tensor, " 1"]
    ) -> dict[str, Tensor] | str:
        dim = weight.shape[1]
        dense = weight.new_zeros(dim, dim)
        dense[0] = SCALE * weight[0]
        out = weight.new_zeros(1, dim)
        out[0, 0] = 1 / SCALE
        return {
            f"{self.dense}.weight": dense,
            f"{self.dense}.bias": weight.new_zeros(dim),
            f"{self.out}.weight": out,
            f"{self.out}.bias": bias,
        }


def pad_of_scores(vocab: Vocab) -> int | None:
    """The id to pad texts with: transformers scores the last token that differs from it.

    So it cannot be eos, which pads texts elsewhere if a tokenizer has no padding token.
    """
    other = (i for i in (vocab.pad, vocab.unk, vocab.bos, vocab.mask) if i < vocab.size)
    return next((i for i in other if i != vocab.eos), None)


def score_fields(fields: Mapping[str, Any], vocab: Vocab) -> dict[str, Any]:
    """The config.json of the family's class for sequence classification, with one score."""
    name = re.sub(r"(LMHeadModel|For[A-Z]\w*)$", "", fields["architectures"][0])
    return {
        **fields,
        "architectures": [f"{name}ForSequenceClassification"],
        "id2label": {"0": "score"},
        "label2id": {"score": 0},
        "problem_type": "regression",
        "pad_token_id": pad_of_scores(vocab),
    }
