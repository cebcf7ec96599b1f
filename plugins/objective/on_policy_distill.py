"""On-policy distillation: the student writes, and learns a teacher's distribution at every token.

Agarwal et al. 2023 (GKD), https://arxiv.org/abs/2306.13649, algorithm 1 with lambda = 1: all text
is the student's own, so it learns from the states that it reaches, and there is no exposure bias.
The loss is the generalised Jensen-Shannon divergence of equation 1, over the whole vocabulary, as a
mean over tokens; beta = 1 is the reverse KL divergence of Lu et al. 2025,
https://thinkingmachines.ai/blog/on-policy-distillation/. As there, no gradient flows through the
sampling. No reward is used: the held-out loss is the divergence on samples of held-out prompts.
The teacher is frozen, has the student's tokenizer, and runs in the student's precision.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from omegaconf import MISSING
from torch import Tensor

from etude import Capability, Prompt, plugin, require
from etude.config import ArchitectureConfig, OnPolicyConfig
from etude.network import Network, Targets
from etude.objective import Frozen, Ids, Loss, ObjectiveContext, entropy_of, target_logits
from etude.rl import Keys, OnPolicyObjective, PromptBatch, targets_of

from ._teacher import check_layout, load_teacher


@dataclass
class OnPolicyDistillConfig(OnPolicyConfig):
    run: str = MISSING
    """Folder of the teacher's run: any objective, with the tokenizer of this run."""
    group_size: int = 1
    """Completions sampled for each prompt."""
    beta: float = 1.0
    """Divergence, in [0, 1]: 1 = KL(student || teacher), concentrates on the teacher's main modes;
    0 = KL(teacher || student), covers all of them; between, a mixture (Jensen-Shannon at 0.5)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.beta <= 1, f"beta must be in [0, 1], got {self.beta}")

    @property
    def teacher(self) -> str:
        return self.run

    def check(self, architecture: ArchitectureConfig) -> None:
        check_layout(self.run, architecture)


@dataclass
class Sample:
    """A completion of the student."""

    prompt: Ids
    completion: Ids
    is_finished: bool
    replies: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


@dataclass
class SampleBatch:
    """Completions of the student, row by row; the targets are its own tokens."""

    targets: Targets
    is_finished: Bool[Tensor, " batch"]


def jensen_shannon(
    student: Float[Tensor, "n vocab"], teacher: Float[Tensor, "n vocab"], beta: float
) -> Float[Tensor, " n"]:
    """Generalised Jensen-Shannon divergence in nats, from logits; KL divergences at 0 and 1."""
    q, p = student.log_softmax(-1), teacher.log_softmax(-1)
    if beta in (0, 1):
        return kl(q, p) if beta == 1 else kl(p, q)
    mixture = torch.logaddexp(p + math.log(beta), q + math.log1p(-beta))
    return beta * kl(p, mixture) + (1 - beta) * kl(q, mixture)


def kl(p: Float[Tensor, "n vocab"], q: Float[Tensor, "n vocab"]) -> Float[Tensor, " n"]:
    """KL(p || q) in nats, from log-probabilities."""
    return F.kl_div(q, p, reduction="none", log_target=True).sum(-1)


@plugin(
    OnPolicyDistillConfig,
    reads={Prompt},
    needs={Capability.GENERATE},
    lr=1e-4,
    data="arithmetic",
    multi_turn=True,
    example={
        "run": "{run:objective=grpo objective.group_size=4 objective.max_new_tokens=16}",
        "max_new_tokens": 16,
    },
)
class OnPolicyDistill(OnPolicyObjective[OnPolicyDistillConfig, SampleBatch]):
    """Minimises the divergence from the teacher on the student's own completions."""

    sample_type = Sample

    def __init__(
        self, config: OnPolicyDistillConfig, network: Network, tools: ObjectiveContext
    ) -> None:
        super().__init__(config, network, tools)
        self.teacher = Frozen(load_teacher(config.run, network, tools))

    def rollout(self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]) -> list[Sample]:
        size = self.config.group_size
        repeated = [prompt for prompt in prompts for _ in range(size)]
        return self._samples(repeated, [Keys((*k, i), k) for k in keys for i in range(size)])

    def _samples(self, prompts: Sequence[Prompt], keys: Sequence[Keys]) -> list[Sample]:
        episodes = self.complete(prompts, keys)
        return [Sample(e.prompt, e.completion, e.is_finished, e.replies) for e in episodes]

    def collate(self, examples: Sequence[Sample]) -> SampleBatch:
        is_finished = torch.tensor([example.is_finished for example in examples])
        return SampleBatch(targets_of(examples, self.network), is_finished)

    def count(self, batch: SampleBatch) -> float:
        return float(batch.targets.where.sum())

    def loss(self, batch: SampleBatch) -> Loss:
        targets = batch.targets
        temperature = self.config.temperature
        student = target_logits(self.network, targets, temperature)
        teacher = target_logits(self.teacher, targets, temperature)
        losses = jensen_shannon(student, teacher, self.config.beta)
        policy = student.detach()
        n_tokens = targets.where.sum()
        n_completions = torch.ones_like(batch.is_finished).sum()
        metrics = {
            "kl": kl(policy.log_softmax(-1), teacher.log_softmax(-1)).sum(),
            "entropy": entropy_of(policy).sum(),
            "response_length": n_tokens,
            "truncated": (~batch.is_finished).sum(),
            "n_completions": n_completions,
            "n_tokens": n_tokens,
            "known": torch.zeros_like(n_tokens),  # no completion has a reward
        }
        return Loss(losses.sum(), metrics)

    def evaluate(self, batch: PromptBatch) -> tuple[Loss, float]:
        """The divergence on sampled completions of held-out prompts."""
        samples = self._samples(batch.records, self.held_out_keys(len(batch.records)))
        held_out = self.transfer_batch_to_device(self.collate(samples), self.device, 0)
        return self.loss(held_out), self.count(held_out)
