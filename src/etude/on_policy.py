"""On-policy objectives: the data is what the policy itself writes.

The step is the same as everywhere: a rollout source yields windows of samples, `loss(batch)` sees
them. Beside it there is one more thing to write, `rollout`.
"""

from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude.batches import Ids, prompt_ids
from etude.contracts import Decoding, Samples
from etude.errors import CheckpointError, ConfigError
from etude.functional import token_log_prob
from etude.generation import Ancestral, Greedy, Request, generate
from etude.inputs import Targets
from etude.loss import Loss
from etude.network import Network
from etude.objective import B, Objective, Tools
from etude.records import Prompt
from etude.schema import ArchitectureConfig, ObjectiveConfig, require
from etude.window import ROLLOUT, TRAIN, VALIDATION, Ranks, Window, cut, rng, sample_at


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

    def trained(self, architecture: ArchitectureConfig) -> ArchitectureConfig:
        return replace(architecture, dropout=self.dropout)


P = TypeVar("P", bound=OnPolicyConfig)


@dataclass
class PromptBatch:
    """Held-out prompts; plain strings, since Lightning walks through batches."""

    prompts: list[str]
    answers: list[str | None]


class OnPolicyObjective(Objective[P, B]):
    """Base of objectives that learn from their own completions, sample by sample."""

    sample_type: type
    """The dataclass of arrays that `rollout` returns a list of; it is saved in checkpoints."""

    def __init__(self, config: P, network: Network, tools: Tools) -> None:
        super().__init__(config, network, tools)
        require(
            config.max_new_tokens < tools.seq_len,
            f"max_new_tokens must be below data.seq_len, which holds prompt and completion, got "
            f"{config.max_new_tokens} and {tools.seq_len}",
        )

    @abstractmethod
    def rollout(self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]) -> list[Any]:
        """Completes each prompt `group_size` times and scores it; its key seeds its samples."""

    def example(self, record: Any, rng: np.random.Generator) -> Any:
        """A rollout's samples are ready as they are."""
        return record

    def source(self, samples: Samples, window: int, seed: int, ranks: Ranks) -> "RolloutSource":
        return RolloutSource(self, samples, window, seed, ranks)

    def held_out_batch(
        self, records: Sequence[Prompt], rngs: Sequence[np.random.Generator]
    ) -> PromptBatch:
        return PromptBatch([r.prompt for r in records], [r.answer for r in records])

    def evaluate(self, batch: PromptBatch) -> tuple[Loss, float]:
        """The mean reward of greedy answers to held-out prompts; the loss is its negative."""
        prompts = [Prompt(*pair) for pair in zip(batch.prompts, batch.answers, strict=True)]
        rngs = [rng(self.tools.seed, VALIDATION, i) for i in range(len(prompts))]
        _, written = self.complete(prompts, rngs, Greedy())
        reward = self.score(prompts, written).sum()
        return Loss(-reward, {"reward": reward}), float(len(prompts))

    def show(self, records: Sequence[Prompt]) -> list[str]:
        room = self.tools.seq_len - self.config.max_new_tokens
        prompts = [prompt_ids(self.tools.tokenizer, record.prompt, room) for record in records]
        written = self.continuations(prompts, self.config.max_new_tokens)
        return [f"{r.prompt} [...] {w}" for r, w in zip(records, written, strict=True)]

    def complete(
        self,
        prompts: Sequence[Prompt],
        rngs: Sequence[np.random.Generator],
        decoding: Decoding | None = None,
    ) -> tuple[list[Ids], list[Ids]]:
        """Returns the ids of each prompt and of the policy's completion of it."""
        config, tokenizer = self.config, self.tools.tokenizer
        room = self.tools.seq_len - config.max_new_tokens
        before = [prompt_ids(tokenizer, prompt.prompt, room) for prompt in prompts]
        with self.acting():
            written = generate(
                self.network,
                [
                    Request(ids, own, config.max_new_tokens)
                    for ids, own in zip(before, rngs, strict=True)
                ],
                decoding or Ancestral(config.temperature),
                at_once=config.generation_batch,
            )
        return before, [row.ids for row in written]

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[Sequence[int]]
    ) -> Float[Tensor, " batch"]:
        """The reward of each completion, on the CPU and in float64, so that sums are exact."""
        assert self.tools.reward is not None, "compatibility asks every on-policy run for a reward"
        texts = [self.tools.tokenizer.decode(ids) for ids in completions]
        scores = self.tools.reward([p.prompt for p in prompts], texts, [p.answer for p in prompts])
        return torch.tensor(scores, dtype=torch.float64)

    def log_probs(
        self, pairs: Sequence[tuple[Ids, Ids]], network: nn.Module | None = None
    ) -> list[np.ndarray]:
        """Log-probability, in nats, of each token of each completion of a prompt, in order.

        By the policy as it is, unless another network is given; at the temperature of sampling.
        """
        asked, temperature = network or self.network, self.config.temperature
        return self.of_tokens(pairs, lambda due: token_log_prob(asked, due, temperature))

    def of_tokens(
        self, pairs: Sequence[tuple[Ids, Ids]], ask: Callable[[Targets], Float[Tensor, "n ..."]]
    ) -> list[np.ndarray]:
        """What `ask` says of the tokens of each completion of a prompt, in order."""
        found: list[np.ndarray] = []
        with self.acting():
            for part in cut(pairs, self.config.generation_batch):
                targets = self.transfer_batch_to_device(self.network.answer(part), self.device, 0)
                ends = np.cumsum([len(written) for _, written in part])[:-1]
                found += np.split(ask(targets).cpu().numpy(), ends)
        return found

    @contextmanager
    def acting(self) -> Generator[None]:
        """All of this as it acts: eval mode, no gradients, the precision of training."""
        was_training = self.training
        self.eval()
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            yield
        self.train(was_training)


class RolloutSource:
    """Windows of what the policy writes: collect, pass over it `epochs` times, collect again.

    Its state holds the rollout in hand, so that a run killed in the middle of one goes on
    with the same samples.
    """

    def __init__(
        self,
        objective: OnPolicyObjective[Any, Any],
        prompts: Samples,
        window: int,
        seed: int,
        ranks: Ranks,
    ) -> None:
        self.objective = objective
        self.prompts = prompts
        config: OnPolicyConfig = objective.config
        self.window = window // ranks.size
        self.n_prompts, rest = divmod(self.window * config.windows_per_rollout, config.group_size)
        if rest:
            raise ConfigError(
                "trainer.global_batch x objective.windows_per_rollout must be a multiple of "
                f"trainer.devices x objective.group_size, got {window} x "
                f"{config.windows_per_rollout}, {ranks.size} and {config.group_size}."
            )
        self.seed = seed
        self.ranks = ranks
        self.rollouts = 0
        self.used = 0
        self.samples: list[Any] = []

    @property
    def windows_per_epoch(self) -> float:
        """Windows in one pass over the prompts, each rollout being used `epochs` times."""
        config: OnPolicyConfig = self.objective.config
        samples = len(self.prompts) * config.group_size * config.epochs
        return samples / (self.window * self.ranks.size)

    def next_window(self) -> Window:
        if self.used == len(self._plan()):
            self._collect()
        ids = self._plan()[self.used]
        self.used += 1
        return Window([self.samples[i] for i in ids], [self.rollouts, *ids])

    def _collect(self) -> None:
        start = (self.rollouts * self.ranks.size + self.ranks.rank) * self.n_prompts
        places = range(start, start + self.n_prompts)
        chosen = [sample_at(self.seed, len(self.prompts), place)[1] for place in places]
        self.samples = self.objective.rollout(
            [self.prompts[i] for i in chosen], [(self.seed, ROLLOUT, place) for place in places]
        )
        self.rollouts += 1
        self.used = 0

    def _plan(self) -> list[list[int]]:
        """Which samples each window of the rollout in hand holds."""
        config: OnPolicyConfig = self.objective.config
        windows: list[list[int]] = []
        for epoch in range(config.epochs if self.samples else 0):
            order = rng(self.seed, TRAIN, self.rollouts, epoch).permutation(len(self.samples))
            windows += [part.tolist() for part in order.reshape(-1, self.window)]
        return windows

    def state_dict(self) -> dict[str, Any]:
        samples = [asdict(sample) for sample in self.samples]
        return {"rollouts": self.rollouts, "used": self.used, "samples": samples}

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        if len(states) != self.ranks.size:
            raise CheckpointError(
                f"The rollout in hand was written by {len(states)} processes; "
                f"{self.ranks.size} cannot go on with it."
            )
        state = states[self.ranks.rank]
        self.rollouts, self.used = state["rollouts"], state["used"]
        self.samples = [self.objective.sample_type(**sample) for sample in state["samples"]]
