"""Windows of what a policy writes: rollouts are collected, used up, and collected again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from etude.config.schema.plugins import ArchitectureConfig, ObjectiveConfig, require
from etude.data.source import Samples
from etude.errors import CheckpointError, ConfigError, DataError
from etude.objective.loader import Ranks, StepBatch, chunks
from etude.objective.randomness import ROLLOUT, TRAIN, rng, sample_at
from etude.objective.ranks import gathered
from etude.records import Prompt


@dataclass
class OnPolicyConfig(ObjectiveConfig):
    """What every on-policy objective has."""

    group_size: int = 8
    """Completions sampled for each prompt."""
    windows_per_rollout: int = 1
    """Optimizer steps' worth of samples (each trainer.global_batch) collected in a rollout."""
    epochs: int = 1
    """Passes over each rollout."""
    max_new_tokens: int = 64
    """Longest completion, in tokens."""
    temperature: float = 1.0
    """Divides the logits, when sampling and in every log-probability."""
    stop: list[str] = field(default_factory=list[str])
    """Strings that end a completion, as a stop token does; the token that completes one stays in
    it, whole: it is rewarded and learned from."""
    generation_batch: int = 64
    """Sequences generated at once; never the micro-batch's size, so that cuts change nothing."""
    dropout: float = 0.0
    """The network's dropout while it learns this, whatever it was built with, in [0, 1); above 0
    the first ratio after a rollout is not 1."""

    def __post_init__(self) -> None:
        for name in (
            "group_size",
            "windows_per_rollout",
            "epochs",
            "max_new_tokens",
            "generation_batch",
        ):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1, got {value}")
        require(self.temperature > 0, f"temperature must be positive, got {self.temperature}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")
        require("" not in self.stop, "stop holds an empty string, which would end every completion")

    def trained(self, architecture: ArchitectureConfig) -> ArchitectureConfig:
        return replace(architecture, dropout=self.dropout)


class RolloutPolicy(Protocol):
    """What a rollout source knows of an on-policy objective."""

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
    """Windows of what the policy writes: collect, pass over it `epochs` times, collect again.

    Its state holds the rollout in hand, so that a run killed in the middle of one goes on
    with the same samples, and how far the prompts were drawn.
    """

    def __init__(
        self, author: RolloutPolicy, prompts: Samples, window: int, seed: int, ranks: Ranks
    ) -> None:
        self.author = author
        self.prompts = prompts
        config = author.config
        self.window = window // ranks.size
        each = author.samples_per_prompt
        self.n_prompts, rest = divmod(self.window * config.windows_per_rollout, each)
        if rest:
            raise ConfigError(
                "trainer.global_batch x objective.windows_per_rollout must be a multiple of "
                f"trainer.devices x objective.group_size, got {window} x "
                f"{config.windows_per_rollout}, {ranks.size} and {each}."
            )
        self.seed = seed
        self.ranks = ranks
        self.rollouts = 0
        self.drawn = 0
        self.used = 0
        self.samples: list[Any] = []

    @property
    def steps_per_epoch(self) -> float:
        """Windows in one pass over the prompts, each rollout being used `epochs` times."""
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
        """Samples of this rank's share of the next prompts in their order."""
        start = self.drawn + self.ranks.rank * self.n_prompts
        self.drawn += self.ranks.size * self.n_prompts
        places = range(start, start + self.n_prompts)
        chosen = [sample_at(self.seed, len(self.prompts), place)[1] for place in places]
        return self.author.rollout(
            [self.prompts[i] for i in chosen], [(self.seed, ROLLOUT, place) for place in places]
        )

    def _draw_until_all_teach(self) -> list[Any]:
        """Samples of the first prompts that teach; all ranks draw until there are enough for all.

        Raises DataError when the draws are used up.
        """
        kept: list[Sequence[Any]] = []
        for _ in range(self.author.max_draws):
            groups = chunks(self._draw(), self.author.samples_per_prompt)
            found = gathered([group for group in groups if self.author.teaches(group)])
            kept += [group for part in found for group in part]
            if len(kept) >= self.n_prompts * self.ranks.size:
                mine = kept[self.ranks.rank * self.n_prompts :][: self.n_prompts]
                return [sample for group in mine for sample in group]
        wanted = self.n_prompts * self.ranks.size
        raise DataError(
            f"Of {self.author.max_draws * wanted:,} prompts drawn for one rollout, {len(kept):,} have "
            f"completions with different rewards; {wanted:,} are wanted.\n"
            "  The task is too hard or too easy for this policy, or the reward is always the same."
            "\n  A larger objective.group_size, objective.temperature or objective.max_draws may find "
            "more; objective.max_draws=1 takes prompts as they come."
        )

    def _plan(self) -> list[list[int]]:
        """Which samples each window of the rollout in hand holds."""
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
