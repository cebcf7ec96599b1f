"""Classification: labels of a text or of a pair of texts, or a number, read from one vector.

Devlin et al. 2018 (BERT), https://arxiv.org/abs/1810.04805, section 4.1, for encoders; Radford et
al. 2018 (GPT), https://openai.com/index/language-unsupervised, section 3.2, for decoders; Lewis et
al. 2019 (BART), https://arxiv.org/abs/1910.13461, section 3.1, for encoder-decoders. See
`_text_rows`, `_output_head` and `_problems` for rows, head and losses, and their deviations.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, Labelled, only_with, plugin, require
from etude.config import ArchitectureConfig, ObjectiveConfig, capabilities_of
from etude.data import Samples
from etude.network import Inputs, Network, freeze_head
from etude.objective import HeadObjective, Ids, Loss, ObjectiveContext, Prediction, Query
from etude.rl import HEAD

from ._labels import label_counts, label_names, labels_of
from ._output_head import OutputHead, Transform
from ._pooling import Pooling
from ._problems import PROBLEMS, ProblemType
from ._text_rows import TextRows


@dataclass
class ClassifyConfig(ObjectiveConfig):
    problem: ProblemType = ProblemType.single_label
    """single_label = one of the labels; multi_label = any number of them; rating = a number."""
    labels: list[str] = only_with("problem=single_label|multi_label", [])
    """The labels, in the order of the outputs; empty = those of the training data, sorted."""
    balanced: bool = only_with("problem=single_label", False)
    """Weight each sample by n / (labels * samples with its label), as counted in the training
    data, so that rare labels count as much as frequent ones."""
    label_smoothing: float = only_with("problem=single_label", 0.0)
    """Probability spread evenly over all labels, in [0, 1). Typical: 0-0.1."""
    pooling: Pooling | None = None
    """State that the head reads: the first (cls), the last, or the mean of all; null = the first of
    an encoder, the last of other networks."""
    transform: Transform | None = None
    """Layer before the output layer: tanh = dense and tanh (BERT); gelu = dense, GELU and a norm
    (ModernBERT); none. null = none for decoders, tanh for other networks."""

    def __post_init__(self) -> None:
        smoothing = self.label_smoothing
        require(0 <= smoothing < 1, f"label_smoothing must be in [0, 1), got {smoothing}")
        different = len({*self.labels}) == len(self.labels) != 1
        require(different, f"labels must be at least two different names, got {self.labels}")

    def check(self, architecture: ArchitectureConfig) -> None:
        require(
            self.pooling is None or Capability.SOURCE_TARGET not in capabilities_of(architecture),
            "objective.pooling has no effect: the vector of an encoder-decoder is the last state "
            "of its decoder.\n  Leave objective.pooling out",
        )


@dataclass
class ClassifyExample:
    """The encoded texts of a record, its target and its label for people."""

    rows: Sequence[Ids]
    target: Sequence[float]
    label: str


@dataclass
class ClassifyBatch:
    """Texts, their targets (see `_problems`) and their labels for people."""

    inputs: Inputs
    target: Float[Tensor, "batch m"]
    label: list[str]


def query_of(record: Labelled) -> Query:
    """The texts of a record."""
    return Query(record.text, record.second)


@plugin(ClassifyConfig, reads={Labelled}, needs={Capability.HIDDEN}, lr=1e-4, data="docs_modules")
class Classify(HeadObjective[ClassifyConfig, ClassifyBatch]):
    """Learns p(label | text), or a number, with a head on the vector of the text."""

    unit = "samples"
    exported_modules = (HEAD,)

    def __init__(self, config: ClassifyConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        is_rating = config.problem is ProblemType.rating
        self.labels = () if is_rating else label_names(config.labels, tools)
        self.problem = PROBLEMS[config.problem](self.labels, config.label_smoothing)
        self.texts = TextRows(tools, config.pooling)
        is_decoder = Capability.NEXT_TOKEN in capabilities_of(tools.architecture)
        transform = config.transform or (Transform.none if is_decoder else Transform.tanh)
        # The labels of a decoder have no bias, as in transformers; a rating has a mean to learn.
        bias = is_rating or not is_decoder
        self.head = OutputHead(network.dim, len(self.labels) or 1, transform, bias=bias)
        self.weights = self._weights() if config.balanced else None
        freeze_head(network)

    def _weights(self) -> dict[str, float]:
        """The weight of a sample by its label."""
        counts = label_counts(self.tools)
        share = counts.total() / len(self.labels)
        return {name: share / n for name, n in counts.items()}

    def select_samples(self, samples: Samples) -> Samples:
        for i in range(len(samples)):
            self.problem.target(samples[i])  # refuses what cannot be learned
        return samples

    def cuts(self, sample: Labelled) -> Iterable[str]:
        _, n_cut = self.texts.encode(*query_of(sample).texts)
        return ["texts cut to fit data.seq_len"] if n_cut else []

    def example(self, record: Labelled, rng: np.random.Generator) -> ClassifyExample:
        rows, _ = self.texts.encode(*query_of(record).texts)
        label = ", ".join(labels_of(record)) or str(record.label)
        return ClassifyExample(rows, self.problem.target(record), label)

    def collate(self, examples: Sequence[ClassifyExample]) -> ClassifyBatch:
        inputs = self.texts.inputs(self.network, [example.rows for example in examples])
        target = torch.tensor([example.target for example in examples], dtype=torch.float64)
        return ClassifyBatch(inputs, target, [example.label for example in examples])

    def count(self, batch: ClassifyBatch) -> float:
        return float(len(batch.target))

    def outputs(self, inputs: Inputs) -> Float[Tensor, "batch n"]:
        """The logits of the labels, or the rating, of each text."""
        return self.head(self.texts.vectors(self.network, inputs))

    def loss(self, batch: ClassifyBatch) -> Loss:
        return self._loss(self.outputs(batch.inputs), batch)

    def _loss(self, outputs: Float[Tensor, "batch n"], batch: ClassifyBatch) -> Loss:
        target = batch.target.to(outputs)
        losses = self.problem.losses(outputs, target)
        if self.weights is not None:
            losses = losses * losses.new_tensor([self.weights[name] for name in batch.label])
        predicted = self.problem.predicted(outputs.detach())
        if self.config.problem is ProblemType.rating:
            return Loss(losses.sum(), {"absolute_error": (predicted - target).abs().sum()})
        return Loss(losses.sum(), {"accuracy": (predicted == target).all(1).sum()})

    def evaluate(self, batch: ClassifyBatch) -> tuple[Loss, float]:
        outputs = self.outputs(batch.inputs)
        rows = torch.stack([self.problem.predicted(outputs).double(), batch.target.double()], 1)
        return replace(self._loss(outputs, batch), rows=rows), self.count(batch)

    def row_metrics(self, rows: Float[Tensor, "sample 2 m"]) -> dict[str, float]:
        return self.problem.metrics(*rows.unbind(1))

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        encoded = [self.texts.encode(*query.texts) for query in queries]
        inputs = self.texts.inputs(self.network, [rows for rows, _ in encoded]).to(self.device)
        answers = map(self.problem.answer, self.outputs(inputs))
        return [
            replace(answer, values={**answer.values, **({"tokens_cut": n} if n else {})})
            for answer, (_, n) in zip(answers, encoded, strict=True)
        ]

    def show(self, records: Sequence[Labelled]) -> list[str]:
        answers = self.predict([query_of(record) for record in records])
        return [
            f"{record.text}\n  [{record.label}] {answer.lines[0].strip()}"
            for record, answer in zip(records, answers, strict=True)
        ]
