"""Global batches of the policy's own completions: rollouts are collected, used and replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

from etude.config.schema.on_policy import OnPolicyConfig
from etude.data.source import Samples
from etude.errors import CheckpointError, ConfigError, DataError
from etude.objective.loader import Ranks, SampleOrder, StepBatch, chunks
from etude.objective.randomness import ROLLOUT, TRAIN, rng, sample_at
from etude.objective.ranks import all_gather
from etude.records import Prompt


class RolloutPolicy(Protocol):
    """The part of an on-policy objective that a rollout source uses."""

    sample_type: type
    max_draws: int
    is_fresh: bool

    @property
    def config(self) -> OnPolicyConfig: ...
    @property
    def samples_per_prompt(self) -> int: ...
    def rollout(self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]) -> list[Any]: ...
    def has_signal(self, group: Sequence[Any]) -> bool: ...


class RolloutSource:
    """Global batches of completions: collects a rollout, uses it `epochs` times, and repeats.

    Its state contains the current rollout, so that a run killed in the middle of one resumes
    with the same samples, and the number of prompts drawn.
    """

    def __init__(
        self, policy: RolloutPolicy, prompts: Samples, global_batch: int, seed: int, ranks: Ranks
    ) -> None:
        self.policy = policy
        self.prompts = prompts
        config = policy.config
        self.rank_batch = global_batch // ranks.size
        group_size = policy.samples_per_prompt
        self.n_prompts, rest = divmod(self.rank_batch * config.batches_per_rollout, group_size)
        if rest:
            raise ConfigError(
                "trainer.global_batch x objective.batches_per_rollout must be a multiple of "
                f"trainer.devices x objective.group_size, got {global_batch} x "
                f"{config.batches_per_rollout} and {ranks.size} x {group_size}."
            )
        self.seed = seed
        self.ranks = ranks
        self.order: SampleOrder = partial(sample_at, seed, len(prompts))
        self.n_rollouts = 0
        self.n_drawn = 0
        self.n_used = 0
        self.samples: list[Any] = []

    @property
    def steps_per_epoch(self) -> float:
        """Global batches in one pass over the prompts, with each rollout used `epochs` times."""
        samples = len(self.prompts) * self.policy.samples_per_prompt * self.policy.config.epochs
        return samples / (self.rank_batch * self.ranks.size)

    def next_step_batch(self) -> StepBatch:
        self.policy.is_fresh = self.n_used == len(self._batch_indices())
        if self.policy.is_fresh:
            self._collect()
        ids = self._batch_indices()[self.n_used]
        self.n_used += 1
        start = self.ranks.rank * self.rank_batch
        return StepBatch([self.samples[i] for i in ids], [self.n_rollouts, *ids], start)

    def _collect(self) -> None:
        self.samples = self._draw() if self.policy.max_draws == 1 else self._draw_until_filled()
        self.n_rollouts += 1
        self.n_used = 0

    def _draw(self) -> list[Any]:
        """Samples completions of this rank's share of the next prompts, in order."""
        start = self.n_drawn + self.ranks.rank * self.n_prompts
        self.n_drawn += self.ranks.size * self.n_prompts
        places = range(start, start + self.n_prompts)
        indices = [self.order(place)[1] for place in places]
        return self.policy.rollout(
            [self.prompts[i] for i in indices], [(self.seed, ROLLOUT, place) for place in places]
        )

    def _draw_until_filled(self) -> list[Any]:
        """Samples of the first prompts that pass `has_signal`; ranks draw until all have enough.

        Raises DataError after `max_draws` draws.
        """
        kept: list[Sequence[Any]] = []
        for _ in range(self.policy.max_draws):
            groups = chunks(self._draw(), self.policy.samples_per_prompt)
            by_rank = all_gather([group for group in groups if self.policy.has_signal(group)])
            kept += [group for groups in by_rank for group in groups]
            if len(kept) >= self.n_prompts * self.ranks.size:
                mine = kept[self.ranks.rank * self.n_prompts :][: self.n_prompts]
                return [sample for group in mine for sample in group]
        needed = self.n_prompts * self.ranks.size
        raise DataError(
            f"objective.max_draws={self.policy.max_draws}: a rollout needs {needed:,} prompts with "
            f"different rewards, but only {len(kept):,} of "
            f"{self.policy.max_draws * needed:,} sampled prompts have them.\n"
            "  The task is too hard or too easy for the policy, or the reward is constant or NaN.\n"
            "  A larger objective.group_size, objective.temperature or objective.max_draws may "
            "find more; objective.max_draws=1 accepts every prompt."
        )

    def _batch_indices(self) -> list[list[int]]:
        """Indices of the samples that this rank uses in each global batch of the rollout."""
        batches: list[list[int]] = []
        for epoch in range(self.policy.config.epochs if self.samples else 0):
            order = rng(self.seed, TRAIN, self.n_rollouts, epoch).permutation(len(self.samples))
            batches += [part.tolist() for part in order.reshape(-1, self.rank_batch)]
        return batches

    def state_dict(self) -> dict[str, Any]:
        counts = {"rollouts": self.n_rollouts, "drawn": self.n_drawn, "used": self.n_used}
        return {**counts, "samples": [asdict(sample) for sample in self.samples]}

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        if len(states) != self.ranks.size:
            raise CheckpointError(
                f"The rollout in the checkpoint was sampled by {len(states)} processes, and this "
                f"run has {self.ranks.size}.\n  Resume with {len(states)} processes."
            )
        state = states[self.ranks.rank]
        counts = (state[key] for key in ("rollouts", "drawn", "used"))
        self.n_rollouts, self.n_drawn, self.n_used = counts
        self.samples = [self.policy.sample_type(**sample) for sample in state["samples"]]
