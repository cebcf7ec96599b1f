"""Knowledge distillation: trains on the task's targets and on a teacher's distributions.

Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2: a temperature softens both
distributions, and the teacher's term is multiplied by its square, so that the scale of its
gradients does not change. Reverse KL: Gu et al. 2023 (MiniLLM), https://arxiv.org/abs/2306.08543,
here on the text of the data and not on samples of the student.
The task is the teacher's own, read from its run with all its settings: its samples, targets and
report. It must predict tokens of text. The teacher is frozen, runs without dropout and computes in
the student's precision. Keep its folder unchanged until the run has ended; `etude generate` also
reads the prompt format from it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_type_hints

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from omegaconf import MISSING
from torch import Tensor, nn

from etude import ConfigError, Text, plugin, require
from etude.config import (
    ArchitectureConfig,
    ExperimentConfig,
    ObjectiveConfig,
    build,
    config_of_parent,
    plugin_of,
)
from etude.data import Samples
from etude.network import Network, to_fp32
from etude.objective import Frozen, Loss, Objective, ObjectiveContext, TextBatch

from ._teacher import check_layout, load_teacher


class Divergence(Enum):
    """Direction of the KL divergence."""

    forward = "forward"
    reverse = "reverse"


@dataclass
class DistillConfig(ObjectiveConfig):
    run: str = MISSING
    """Folder of the teacher's run, which also defines the task."""
    temperature: float = 2.0
    """Divides the logits of both networks before the comparison. Typical: 1-4."""
    alpha: float = 0.5
    """Weight of the distillation loss, in (0, 1]; the task loss has weight 1 - alpha."""
    divergence: Divergence = Divergence.forward
    """forward = KL(teacher || student), covers all modes of the teacher; reverse = KL(student ||
    teacher), concentrates on its main modes."""

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        require(0 < self.alpha <= 1, f"alpha must be in (0, 1], got {self.alpha}")

    @property
    def teacher(self) -> str:
        return self.run

    @property
    def task(self) -> ObjectiveConfig:
        """The task of the teacher, or of its teacher. Raises ConfigError without text targets."""
        task = self._teacher_config().objective.task
        objective = plugin_of(task)
        kind: Any = objective.build  # the builder of an objective is a class
        if not issubclass(get_type_hints(kind.collate)["return"], TextBatch):
            raise ConfigError(
                f"objective.run={self.run} cannot be distilled: it was trained with "
                f"{objective.address}, which does not predict the tokens of a text.\n"
                "  Name a run that was trained with clm, mlm, seq2seq or prefix_lm."
            )
        return task

    def check(self, architecture: ArchitectureConfig) -> None:
        check_layout(self.run, architecture)

    def _teacher_config(self) -> ExperimentConfig:
        return config_of_parent("objective.run", self.run)


def divergence(
    teacher: Float[Tensor, "n vocab"],
    student: Float[Tensor, "n vocab"],
    temperature: float,
    kind: Divergence,
) -> Float[Tensor, " n"]:
    """KL divergence in nats between softened distributions, from their logits."""
    p, q = ((logits / temperature).log_softmax(-1) for logits in (teacher, student))
    pair = (q, p) if kind is Divergence.forward else (p, q)
    return F.kl_div(*pair, reduction="none", log_target=True).sum(-1)


@plugin(DistillConfig, reads={Text}, lr=1e-3, data="python_docs", example={"run": "{run}"})
class Distill(Objective[DistillConfig, TextBatch]):
    """(1 - alpha) task + alpha temperature^2 divergence, as sums; the task defines the count."""

    def __init__(self, config: DistillConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.task: Objective[Any, TextBatch] = build(config.task, network, tools)
        self.unit = self.task.unit
        self.lost = self.task.lost
        self.notes = self.task.notes
        self.teacher = Frozen(load_teacher(config.run, network, tools))
        self._student_logits: list[Tensor] = []
        network.register_forward_hook(self._keep_logits)

    def _keep_logits(self, network: nn.Module, arguments: Any, logits: Tensor) -> None:
        """Keeps the logits of the task's forward pass, so that one forward pass is enough."""
        self._student_logits = [logits]

    def select_samples(self, samples: Samples) -> Samples:
        return self.task.select_samples(samples)

    def cuts(self, sample: Any) -> Iterable[str]:
        return self.task.cuts(sample)

    def example(self, record: Any, rng: np.random.Generator) -> Any:
        return self.task.example(record, rng)

    def collate(self, examples: Sequence[Any]) -> TextBatch:
        return self.task.collate(examples)

    def count(self, batch: TextBatch) -> float:
        return self.task.count(batch)

    def loss(self, batch: TextBatch) -> Loss:
        task = self.task.loss(batch)
        targets = batch.targets
        alpha = self.config.alpha
        student = to_fp32(self._student_logits.pop())
        teacher = to_fp32(self.teacher(targets.inputs, targets.where))
        kl = divergence(teacher, student, self.config.temperature, self.config.divergence).sum()
        metrics = {**task.metrics, "task": task.total.detach(), "divergence": kl.detach()}
        total = (1 - alpha) * task.total + alpha * self.config.temperature**2 * kl
        return Loss(total, metrics)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        total = {"loss": means["loss"], "divergence": means["divergence"]}
        rest = {name: value for name, value in means.items() if name not in (*total, "task")}
        task = self.task.report({**rest, "loss": means["task"]})
        return {**task, **total, "task_loss": task["loss"]}

    def show(self, records: Sequence[Any]) -> list[str]:
        return self.task.show(records)
