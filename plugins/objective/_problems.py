"""What a classifier predicts of a text: one label, several or a number; transformers' three types.

Losses are those of its classes for sequence classification: cross-entropy, binary cross-entropy
averaged over the labels, and squared error. Metrics of all held-out samples together are
torchmetrics'.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional import classification, pearson_corrcoef, spearman_corrcoef

from etude import DataError, Labelled
from etude.objective import Prediction

from ._labels import refuse_unknown

N_SHOWN = 10
"""Number of labels of an answer that are shown to a person."""


class ProblemType(Enum):
    """What is predicted of a text."""

    single_label = "single_label"
    multi_label = "multi_label"
    rating = "rating"


class Problem(ABC):
    """Targets, losses, metrics and answers of one type of problem, for outputs [batch n]."""

    kind: ProblemType
    reads: type
    """The type of a record's label."""

    def __init__(self, labels: Sequence[str], label_smoothing: float = 0.0) -> None:
        self.labels = labels
        self.label_smoothing = label_smoothing

    def target(self, record: Labelled) -> list[float]:
        """The target of a record. Raises DataError for a record of another type of problem."""
        if not isinstance(record.text, str):
            raise DataError(
                f"objective=classify labels texts, and {record.text!r:.60} is a list of words.\n"
                "  Use objective=tag, which labels words."
            )
        if not isinstance(record.label, self.reads):
            fits = next(kind for kind in PROBLEMS.values() if isinstance(record.label, kind.reads))
            raise DataError(
                f"objective.problem={self.kind.value} does not fit the label {record.label!r} of "
                f"{record.text!r:.60}.\n  Use objective.problem={fits.kind.value}."
            )
        refuse_unknown(record, self.labels)
        return self.numbers(record.label)

    @abstractmethod
    def numbers(self, label: str | float | tuple[str, ...]) -> list[float]:
        """The target of a label of the right type."""

    @abstractmethod
    def losses(
        self, outputs: Float[Tensor, "batch n"], target: Float[Tensor, "batch m"]
    ) -> Float[Tensor, " batch"]:
        """The loss of each sample, in nats or squared units of the rating."""

    @abstractmethod
    def predicted(self, outputs: Float[Tensor, "batch n"]) -> Float[Tensor, "batch m"]:
        """What is most probable, in the form of targets."""

    @abstractmethod
    def metrics(
        self, predicted: Float[Tensor, "sample m"], target: Float[Tensor, "sample m"]
    ) -> dict[str, float]:
        """Metrics that are no means over samples, from all of them."""

    @abstractmethod
    def answer(self, outputs: Float[Tensor, " n"]) -> Prediction:
        """The answer for one text."""


def ranked(labels: Sequence[str], chances: Tensor) -> tuple[dict[str, float], list[str]]:
    """The probabilities by label, the most probable first; and the first ones as lines."""
    pairs = zip(labels, chances.tolist(), strict=True)
    found = dict(sorted(pairs, key=lambda pair: -pair[1]))
    return found, [f"{chance:6.1%}  {name}" for name, chance in [*found.items()][:N_SHOWN]]


class SingleLabel(Problem):
    """One of the labels; a target is its number."""

    kind = ProblemType.single_label
    reads = str

    def numbers(self, label: str | float | tuple[str, ...]) -> list[float]:
        return [float(self.labels.index(str(label)))]

    def losses(
        self, outputs: Float[Tensor, "batch n"], target: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, " batch"]:
        smoothing = self.label_smoothing
        index = target[:, 0].long()
        return F.cross_entropy(outputs, index, reduction="none", label_smoothing=smoothing)

    def predicted(self, outputs: Float[Tensor, "batch n"]) -> Float[Tensor, "batch 1"]:
        return outputs.argmax(1, keepdim=True).to(outputs)

    def metrics(
        self, predicted: Float[Tensor, "sample 1"], target: Float[Tensor, "sample 1"]
    ) -> dict[str, float]:
        sides, n = (predicted[:, 0].long(), target[:, 0].long()), len(self.labels)
        macro = classification.multiclass_f1_score(*sides, num_classes=n, average="macro")
        matthews = classification.multiclass_matthews_corrcoef(*sides, num_classes=n)
        return {"macro_f1": float(macro), "matthews": float(matthews)}

    def answer(self, outputs: Float[Tensor, " n"]) -> Prediction:
        chances, lines = ranked(self.labels, outputs.softmax(0))
        return Prediction({"label": next(iter(chances)), "probabilities": chances}, lines)


class MultiLabel(Problem):
    """Any of the labels; a target has 0 or 1 for each."""

    kind = ProblemType.multi_label
    reads = tuple

    def numbers(self, label: str | float | tuple[str, ...]) -> list[float]:
        return [float(isinstance(label, tuple) and name in label) for name in self.labels]

    def losses(
        self, outputs: Float[Tensor, "batch n"], target: Float[Tensor, "batch n"]
    ) -> Float[Tensor, " batch"]:
        return F.binary_cross_entropy_with_logits(outputs, target, reduction="none").mean(1)

    def predicted(self, outputs: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        return (outputs > 0).to(outputs)

    def metrics(
        self, predicted: Float[Tensor, "sample n"], target: Float[Tensor, "sample n"]
    ) -> dict[str, float]:
        sides, n = (predicted.long(), target.long()), len(self.labels)
        micro = classification.multilabel_f1_score(*sides, num_labels=n, average="micro")
        macro = classification.multilabel_f1_score(*sides, num_labels=n, average="macro")
        return {"micro_f1": float(micro), "macro_f1": float(macro)}

    def answer(self, outputs: Float[Tensor, " n"]) -> Prediction:
        chances, lines = ranked(self.labels, outputs.sigmoid())
        names = [name for name, chance in chances.items() if chance > 0.5]
        return Prediction({"labels": names, "probabilities": chances}, lines)


class Rating(Problem):
    """A number, which is its own target."""

    kind = ProblemType.rating
    reads = float

    def numbers(self, label: str | float | tuple[str, ...]) -> list[float]:
        assert isinstance(label, float)
        return [label]

    def losses(
        self, outputs: Float[Tensor, "batch 1"], target: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, " batch"]:
        return (outputs - target).square()[:, 0]

    def predicted(self, outputs: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        return outputs

    def metrics(
        self, predicted: Float[Tensor, "sample 1"], target: Float[Tensor, "sample 1"]
    ) -> dict[str, float]:
        """Correlations; NaN for fewer than two samples, or if either side is constant."""
        sides = predicted[:, 0], target[:, 0]
        if any(side.min() == side.max() for side in sides):
            return {"pearson": torch.nan, "spearman": torch.nan}
        return {
            "pearson": float(pearson_corrcoef(*sides)),
            "spearman": float(spearman_corrcoef(*sides)),
        }

    def answer(self, outputs: Float[Tensor, " 1"]) -> Prediction:
        return Prediction({"rating": float(outputs)}, [f"{float(outputs):.4g}"])


PROBLEMS: dict[ProblemType, type[Problem]] = {
    kind.kind: kind for kind in (SingleLabel, MultiLabel, Rating)
}
