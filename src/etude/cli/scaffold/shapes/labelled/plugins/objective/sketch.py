"""Text classification: a linear head over the state of the last token, trained with the network.

Radford et al. 2018 (GPT), https://openai.com/index/language-unsupervised, section 3.2.
Deviation: no special token ends the text, and no language modelling loss is added.
(Replace this with your source and your deviations from it.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor, nn

from etude import Capability, DataError, Labelled, plugin, require
from etude.config import ObjectiveConfig
from etude.network import Inputs, Network, pad_right, to_fp32
from etude.objective import Loss, Objective, ObjectiveContext


@dataclass
class SketchConfig(ObjectiveConfig):
    labels: list[str] = field(default_factory=lambda: ["no", "yes"])
    """The labels of the data."""
    smoothing: float = 0.0
    """Probability spread evenly over all labels, in [0, 1). Typical: 0-0.1."""

    def __post_init__(self) -> None:
        require(len(self.labels) >= 2, f"labels must be at least two, got {self.labels}")
        require(0 <= self.smoothing < 1, f"smoothing must be in [0, 1), got {self.smoothing}")


@dataclass
class SketchBatch:
    """Texts, the place of each one's last token, and the number of its label."""

    inputs: Inputs
    last: Int[Tensor, " batch"]
    label: Int[Tensor, " batch"]


@plugin(SketchConfig, reads={Labelled}, needs={Capability.HIDDEN}, lr=1e-4, data="jsonl_labels")
class Sketch(Objective[SketchConfig, SketchBatch]):
    """Learns p(label | text); the head is exported with the network, to `model/`."""

    exported_modules = ("head",)

    def __init__(self, config: SketchConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.head = nn.Linear(network.dim, len(config.labels))

    def example(self, record: Labelled, rng: np.random.Generator) -> tuple[list[int], int]:
        if not isinstance(record.text, str) or record.label not in self.config.labels:
            raise DataError(
                f"objective=sketch: the label {record.label!r} is not one of objective.labels="
                f"{self.config.labels}.\n  Give the labels of a text: objective.labels=[...]."
            )
        ids = self.tools.tokenizer.encode(record.text)[: self.tools.seq_len]
        return [*ids], self.config.labels.index(str(record.label))

    def cuts(self, sample: Labelled) -> Iterable[str]:
        n = len(self.tools.tokenizer.encode(str(sample.text)))
        return ["texts cut to fit data.seq_len"] if n > self.tools.seq_len else []

    def collate(self, examples: Sequence[tuple[list[int], int]]) -> SketchBatch:
        texts, labels = zip(*examples, strict=True)
        last = torch.tensor([len(ids) - 1 for ids in texts])
        return SketchBatch(pad_right(texts, self.network.vocab.pad), last, torch.tensor(labels))

    def count(self, batch: SketchBatch) -> float:
        return float(len(batch.label))

    def loss(self, batch: SketchBatch) -> Loss:
        states = self.network.states(batch.inputs)  # batch seq dim
        logits = to_fp32(self.head(states[torch.arange(len(batch.last)), batch.last]))
        smoothing = self.config.smoothing
        loss = F.cross_entropy(logits, batch.label, reduction="sum", label_smoothing=smoothing)
        return Loss(loss, {"accuracy": (logits.argmax(-1) == batch.label).sum()})
