"""Kahneman-Tversky optimisation: trains on single completions, each desirable or not.

Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306, equations 7 and 8. The reference point z
is one number per global batch, over all micro-batches and devices, so its split has no effect; the
paper has one per micro-batch. As in TRL, z is measured on each prompt with the completion of a
later record, here the next one with another prompt. One side of a preference is desirable.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from etude import Capability, Chat, Feedback, Message, Preference, plugin, require
from etude.config import ComparisonConfig
from etude.data import Samples
from etude.network import Network, Targets
from etude.objective import (
    IdPair,
    Loss,
    Objective,
    ObjectiveContext,
    Reference,
    completion_ids,
    refuse_empty,
    sequence_log_prob,
    show_continuations,
)

from ._kto.labelled_completions import LabelledCompletion, LabelledCompletions, split


@dataclass
class KtoConfig(ComparisonConfig):
    beta: float = 0.1
    """Strength of the penalty for leaving the reference policy. Typical: 0.01-0.5."""
    desirable_weight: float = 1.0
    """Weight of desirable completions. Usual: 1-1.5 times as much in total as undesirable ones."""
    undesirable_weight: float = 1.0
    """Weight of undesirable completions."""
    threshold: float = 0.5
    """Completions with a score above this are desirable; true is 1 and false is 0."""
    precompute: bool = False
    """Precompute reference log-probabilities before the first step, to free the reference's
    memory. They are cached by its weights and the ids."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0, f"beta must be positive, got {self.beta}")
        for name in ("desirable_weight", "undesirable_weight"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must be 0 or more, got {value}")


@dataclass(frozen=True)
class KtoExample:
    """The ids of a `LabelledCompletion`; the prompt is truncated separately in each pair."""

    matched: IdPair
    mismatched: IdPair
    desirable: bool


@dataclass
class KtoBatch:
    """Completions, and mismatched completions of the same prompts, row by row."""

    matched: Targets
    mismatched: Targets
    desirable: Bool[Tensor, " batch"]
    reference: Float[Tensor, "side batch"] | None = None
    """Precomputed log-probabilities of both sides under the reference policy."""


def kto_loss(
    log_ratio: Float[Tensor, " batch"], desirable: Bool[Tensor, " batch"], z: float, beta: float
) -> Float[Tensor, " batch"]:
    """1 - value of each completion: sigmoid(beta (log_ratio - z)), or its complement."""
    gain = beta * (log_ratio - z)
    return torch.sigmoid(torch.where(desirable, -gain, gain))  # 1 - sigmoid(x) = sigmoid(-x)


@plugin(
    KtoConfig,
    reads={Feedback, Preference},
    needs={Capability.GENERATE},
    lr=5e-7,
    data="docs_preferences",
)
class Kto(Objective[KtoConfig, KtoBatch]):
    """Moves each completion away from z, the mean log-ratio of mismatched completions."""

    unit = "completions"

    def __init__(self, config: KtoConfig, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference = Reference(network, tools, precompute=config.precompute)
        self._samples: list[LabelledCompletions] = []

    def select_samples(self, samples: Samples) -> Samples:
        kept = self.drop_samples(samples, self._drop_reason)
        self._samples.append(LabelledCompletions(kept, self.config.threshold))
        return self._samples[-1]

    def _drop_reason(self, record: Feedback | Preference) -> str | None:
        ids = [self._encode(f.prompt, f.completion)[0][1] for f in split(record)]
        same = len(ids) > 1 and list(ids[0]) == list(ids[1])
        return "both completions have the same tokens" if same else None

    def _encode(
        self, prompt: str | Chat, completion: str | Message
    ) -> tuple[IdPair, Sequence[str]]:
        tools = self.tools
        before, after, cuts = completion_ids(tools.tokenizer, prompt, completion, tools.seq_len)
        refuse_empty(prompt, after)
        return (before, after), cuts

    def cuts(self, sample: LabelledCompletion) -> Iterable[str]:
        return self._encode(sample.prompt, sample.completion)[1]

    def example(self, record: LabelledCompletion, rng: np.random.Generator) -> KtoExample:
        matched, _ = self._encode(record.prompt, record.completion)
        mismatched, _ = self._encode(record.prompt, record.mismatched)
        return KtoExample(matched, mismatched, record.desirable)

    def collate(self, examples: Sequence[KtoExample]) -> KtoBatch:
        rows = [e.matched for e in examples], [e.mismatched for e in examples]
        matched, mismatched = map(self.network.answer, rows)
        desirable = torch.tensor([e.desirable for e in examples])
        return KtoBatch(matched, mismatched, desirable, self.reference.lookup([*rows[0], *rows[1]]))

    def count(self, batch: KtoBatch) -> float:
        return float(len(batch.desirable))

    def batch_statistic(self, batch: KtoBatch) -> Float[Tensor, ""]:
        return self._log_ratio(batch, 1).sum()

    def _log_ratio(self, batch: KtoBatch, side: int) -> Float[Tensor, " batch"]:
        targets = (batch.matched, batch.mismatched)[side]
        policy = sequence_log_prob(self.network, targets)
        known = batch.reference
        reference = self.reference(targets) if known is None else known[side]
        return policy - reference.to(policy)

    def loss(self, batch: KtoBatch) -> Loss:
        config = self.config
        desirable = batch.desirable
        z = max(0.0, self.statistic_mean)
        log_ratio = self._log_ratio(batch, 0)
        losses = kto_loss(log_ratio, desirable, z, config.beta)
        good = config.desirable_weight * losses
        bad = config.undesirable_weight * losses
        reward = config.beta * log_ratio.detach()
        metrics = {
            "accuracy": torch.where(desirable, log_ratio > z, log_ratio < z).sum(),
            "kl": torch.full_like(reward, z).sum(),
            "desirable": desirable.sum(),
            "desirable_reward": (reward * desirable).sum(),
            "undesirable_reward": (reward * ~desirable).sum(),
        }
        return Loss(torch.where(desirable, good, bad).sum(), metrics)

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        share = means["desirable"]
        tiny = 1e-12
        good = means["desirable_reward"] / max(share, tiny)
        bad = means["undesirable_reward"] / max(1 - share, tiny)
        return {**means, "desirable_reward": good, "undesirable_reward": bad, "margin": good - bad}

    def on_fit_start(self) -> None:
        """Precomputes reference log-probabilities if `precompute` is set."""
        if self.config.precompute:
            unused = np.random.default_rng(0)
            examples = [self.example(s[i], unused) for s in self._samples for i in range(len(s))]
            self.reference.compute_all(
                self, [row for e in examples for row in (e.matched, e.mismatched)]
            )

    def show(self, records: Sequence[Any]) -> list[str]:
        return show_continuations(self, records)
