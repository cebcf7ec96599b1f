"""Global batches of the policy's own completions: rollouts are collected, used and replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from etude.config.schema.plugins import ArchitectureConfig, ObjectiveConfig, require
from etude.data.source import Samples
from etude.errors import CheckpointError, ConfigError, DataError
from etude.objective.loader import Ranks, StepBatch, chunks
from etude.objective.randomness import ROLLOUT, TRAIN, rng, sample_at
from etude.objective.ranks import all_gather
from etude.records import Prompt


@dataclass
class OnPolicyConfig(ObjectiveConfig):
    """Options of every on-policy objective."""

    group_size: int = 8
    """Completions sampled per prompt. Usual range 4 to 64; 1 where no group baseline is used."""
    batches_per_rollout: int = 1
    """Size of a rollout in global batches (trainer.global_batch samples each); with 1 and epochs=1,
    every step is on-policy. Usual range 1 to 8."""
    epochs: int = 1
    """Passes over each rollout. Usual range 1 to 4."""
    max_new_tokens: int = 64
    """Longest completion, in tokens; must be below data.seq_len."""
    temperature: float = 1.0
    """Sampling temperature, above 0; divides the logits of every log-probability, too. Usual: 1."""
    stop: list[str] = field(default_factory=list[str])
    """Strings that end a completion, as a stop token does. The token that completes one is kept
    whole, so it is rewarded and trained on."""
    generation_batch: int = 64
    """Sequences generated in parallel, limited by memory; independent of the micro-batch size, so
    that micro-batching does not change the samples."""
    dropout: float = 0.0
    """Dropout during this run, in [0, 1); overrides the architecture's. Above 0, the first ratio
    after a rollout is not 1."""

    def __post_init__(self) -> None:
        for name in (
            "group_size",
            "batches_per_rollout",
            "epochs",
            "max_new_tokens",
            "generation_batch",
        ):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")
        require("" not in self.stop, "stop holds an empty string, which would end every completion")

    def adjusted_architecture(self, architecture: ArchitectureConfig) -> ArchitectureConfig:
        return replace(architecture, dropout=self.dropout)


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
    def teaches(self, group: Sequence[Any]) -> bool: ...


class RolloutSource:
    """Global batches of completions: collects a rollout, uses it `epochs` times, and repeats.

    Its state contains the current rollout, so that a run killed in the middle of one resumes
    with the same samples, and the number of prompts drawn.
    """

    def __init__(
        self, author: RolloutPolicy, prompts: Samples, window: int, seed: int, ranks: Ranks
    ) -> None:
        self.author = author
        self.prompts = prompts
        config = author.config
        self.window = window // ranks.size
        each = author.samples_per_prompt
        self.n_prompts, rest = divmod(self.window * config.batches_per_rollout, each)
        if rest:
            raise ConfigError(
                "trainer.global_batch x objective.batches_per_rollout must be a multiple of "
                f"trainer.devices x objective.group_size, got {window} x "
                f"{config.batches_per_rollout}, {ranks.size} and {each}."
            )
        self.seed = seed
        self.ranks = ranks
        self.rollouts = 0
        self.drawn = 0
        self.used = 0
        self.samples: list[Any] = []

    @property
    def steps_per_epoch(self) -> float:
        """Global batches in one pass over the prompts, with each rollout used `epochs` times."""
        samples = len(self.prompts) * self.author.samples_per_prompt * self.author.config.epochs
        return samples / (self.window * self.ranks.size)

    def next_step_batch(self) -> StepBatch:
        self.author.is_fresh = self.used == len(self._plan())
        if self.author.is_fresh:
            self._collect()
        ids = self._plan()[self.used]
        self.used += 1
        return StepBatch([self.samples[i] for i in ids], [self.rollouts, *ids])

    def _collect(self) -> None:
        self.samples = self._draw() if self.author.max_draws == 1 else self._draw_until_all_teach()
        self.rollouts += 1
        self.used = 0

    def _draw(self) -> list[Any]:
        """Samples completions of this rank's share of the next prompts, in order."""
        start = self.drawn + self.ranks.rank * self.n_prompts
        self.drawn += self.ranks.size * self.n_prompts
        places = range(start, start + self.n_prompts)
        chosen = [sample_at(self.seed, len(self.prompts), place)[1] for place in places]
        return self.author.rollout(
            [self.prompts[i] for i in chosen], [(self.seed, ROLLOUT, place) for place in places]
        )

    def _draw_until_all_teach(self) -> list[Any]:
        """Samples of the first prompts that pass `teaches`; ranks draw until all have enough.

        Raises DataError after `max_draws` draws.
        """
        kept: list[Sequence[Any]] = []
        for _ in range(self.author.max_draws):
            groups = chunks(self._draw(), self.author.samples_per_prompt)
            found = all_gather([group for group in groups if self.author.teaches(group)])
            kept += [group for part in found for group in part]
            if len(kept) >= self.n_prompts * self.ranks.size:
                mine = kept[self.ranks.rank * self.n_prompts :][: self.n_prompts]
                return [sample for group in mine for sample in group]
        wanted = self.n_prompts * self.ranks.size
        raise DataError(
            f"Of {self.author.max_draws * wanted:,} prompts drawn for one rollout, {len(kept):,} "
            f"have completions with different rewards; {wanted:,} are wanted.\n"
            "  The task is too hard or too easy for this policy, or the reward is always the same."
            "\n  A larger objective.group_size, objective.temperature or objective.max_draws may "
            "find more; objective.max_draws=1 takes prompts as they come."
        )

    def _plan(self) -> list[list[int]]:
        """Indices of the samples in each global batch of the current rollout."""
        windows: list[list[int]] = []
        for epoch in range(self.author.config.epochs if self.samples else 0):
            order = rng(self.seed, TRAIN, self.rollouts, epoch).permutation(len(self.samples))
            windows += [part.tolist() for part in order.reshape(-1, self.window)]
        return windows

    def state_dict(self) -> dict[str, Any]:
        samples = [asdict(sample) for sample in self.samples]
        at = {"rollouts": self.rollouts, "drawn": self.drawn, "used": self.used}
        return {**at, "samples": samples}

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        if len(states) != self.ranks.size:
            raise CheckpointError(
                f"The rollout in hand was written by {len(states)} processes; "
                f"{self.ranks.size} cannot go on with it."
            )
        state = states[self.ranks.rank]
        self.rollouts, self.drawn, self.used = (state[k] for k in ("rollouts", "drawn", "used"))
        self.samples = [self.author.sample_type(**sample) for sample in state["samples"]]
