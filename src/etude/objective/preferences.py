"""The base of objectives that compare two completions: pairs, and the reference policy.

A plugin defines the implicit reward of a completion, and the loss of the margin between two.
Log-probabilities are sums over the completion's tokens, including its eos, without the prompt.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from etude.config.schema.preferences import PreferenceConfig, Reduction, ReferenceConfig
from etude.data.source import Samples
from etude.errors import DataError
from etude.network.network import Network
from etude.objective.batches import (
    PreferenceBatch,
    PreferenceExample,
    preference_batch,
    preference_example,
    prompt_ids,
)
from etude.objective.context import ObjectiveContext
from etude.objective.log_probs import sequence_log_prob
from etude.objective.loss import Loss
from etude.objective.objective import Objective
from etude.objective.randomness import TRAIN, rng
from etude.objective.reference import IdPair, Reference
from etude.records import Chat, Preference

P = TypeVar("P", bound=PreferenceConfig)


class PreferenceObjective(Objective[P, PreferenceBatch]):
    """Base of objectives that train on pairs. The loss of a step is the mean over its pairs."""

    unit = "pairs"
    reduction = Reduction.sum

    def __init__(self, config: P, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        self.reference: Reference | None = None
        if isinstance(config, ReferenceConfig):
            self.reduction = config.log_prob
            self.reference = Reference(network, tools, precompute=config.precompute)
        self._selected: list[Samples] = []

    @abstractmethod
    def reward(self, log_ratio: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        """Returns the implicit reward of completions from their log-ratio to the reference.

        Without a reference policy, it is computed from their log-probability.
        """

    @abstractmethod
    def losses(self, margin: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        """Returns the loss of each pair, from the chosen reward minus the rejected one."""

    def select_samples(self, samples: Samples) -> Samples:
        """Drops pairs with identical completions, which give no learning signal."""
        samples = self.drop_samples(samples, self._drop_reason)
        self._selected.append(samples)
        return samples

    def example(self, record: Preference, rng: np.random.Generator) -> PreferenceExample:
        example = preference_example(self.tools.tokenizer, record, self.tools.seq_len)
        for completion in (example.chosen, example.rejected):
            refuse_empty(record.prompt, completion)
        return example

    def cuts(self, sample: Preference) -> Iterable[str]:
        return self._example_of(sample).cuts

    def collate(self, examples: Sequence[PreferenceExample]) -> PreferenceBatch:
        batch = preference_batch(examples, self.network)
        if self.reference is not None:
            batch.reference = self.reference.lookup(rows(examples))
        return batch

    def count(self, batch: PreferenceBatch) -> float:
        return float(len(batch.chosen.ids))

    def loss(self, batch: PreferenceBatch) -> Loss:
        sides = batch.chosen, batch.rejected
        policy = torch.stack([sequence_log_prob(self.network, side) for side in sides])
        lengths = torch.stack([side.where.sum(dim=1) for side in sides])
        ref = batch.reference
        if ref is None and self.reference is not None:
            ref = torch.stack([self.reference(side) for side in sides])
        losses, metrics = self.pair_losses(policy, None if ref is None else ref.to(policy), lengths)
        return Loss(losses.sum(), {name: x.detach().sum() for name, x in metrics.items()})

    def pair_losses(
        self,
        policy: Float[Tensor, "side pair"],
        reference: Float[Tensor, "side pair"] | None,
        lengths: Int[Tensor, "side pair"],
    ) -> tuple[Float[Tensor, " pair"], dict[str, Num[Tensor, " pair"]]]:
        """Returns the loss and metrics of each pair from log-probabilities summed over tokens."""
        ratios = policy if reference is None else policy - reference
        if self.reduction is Reduction.mean:
            ratios = ratios / lengths
        chosen, rejected = map(self.reward, ratios)
        margin = chosen - rejected
        nll = -policy[0] / lengths[0]
        return self.losses(margin) + self.config.nll_weight * nll, {
            "accuracy": (margin > 0).long(),
            "policy_accuracy": (policy[0] > policy[1]).long(),
            "margin": margin,
            "chosen_reward": chosen,
            "rejected_reward": rejected,
            "chosen_nll": nll,
        }

    def on_fit_start(self) -> None:
        """Precomputes the reference log-probabilities if `precompute` is set."""
        if self.reference is not None and self.reference.precompute:
            examples = [e for samples in self._selected for e in self._examples(samples)]
            self.reference.compute_all(self, rows(examples))

    def _examples(self, samples: Samples) -> Iterator[PreferenceExample]:
        return (self._example_of(samples[i]) for i in range(len(samples)))

    def _example_of(self, record: Preference) -> PreferenceExample:
        return self.example(record, rng(self.tools.seed, TRAIN))

    def _drop_reason(self, record: Preference) -> str | None:
        example = self._example_of(record)
        same = list(example.chosen) == list(example.rejected)
        return "both completions have the same tokens" if same else None

    def show(self, records: Sequence[Any]) -> list[str]:
        return show_continuations(self, records)


def rows(examples: Sequence[PreferenceExample]) -> list[IdPair]:
    """Returns all (prompt, completion) pairs: first the chosen, then the rejected ones."""
    chosen = [(e.prompt, e.chosen) for e in examples]
    return [*chosen, *((e.prompt, e.rejected) for e in examples)]


def refuse_empty(prompt: str | Chat, completion: Sequence[int]) -> None:
    """Raises DataError for a completion that is empty except for its eos."""
    if len(completion) < 2:
        raise DataError(
            f"A completion of the prompt {str(prompt)[-200:]!r} is empty after tokenisation.\n"
            "  Remove the record."
        )


def show_continuations(objective: Objective[Any, Any], records: Sequence[Any]) -> list[str]:
    """Returns each record's prompt with the network's continuation, for a person to read."""
    limit = objective.tools.seq_len // 2
    prompts = [prompt_ids(objective.tools.tokenizer, r.prompt, limit) for r in records]
    texts = objective.continuations(prompts, min(64, limit))
    return [f"{r.prompt} [...] {text}" for r, text in zip(records, texts, strict=True)]
