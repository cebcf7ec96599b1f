"""On-policy objectives: they train on completions sampled from the policy itself.

The step is the same as everywhere: a rollout source yields global batches, and `loss(batch)`
receives them. A plugin implements one more method, `rollout`.
A prompt that leaves no room for max_new_tokens loses its start and is counted (see `cuts`). The
reward still reads the whole prompt, since the reference answer belongs to all of it.
"""

import sys
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude.config.schema.on_policy import OnPolicyConfig
from etude.config.schema.plugins import require
from etude.data.source import Samples
from etude.formats.model import read_model
from etude.network.decoding import Ancestral, Decoding, Greedy
from etude.network.generation import Generation, GenerationOptions, Request, StopStrings
from etude.network.inputs import Targets
from etude.network.network import Network
from etude.objective.batches import PROMPTS_CUT, Ids, prompt_ids
from etude.objective.context import ObjectiveContext
from etude.objective.loader import Ranks, chunks
from etude.objective.log_probs import log_prob_of, target_logits, token_log_prob
from etude.objective.loss import Loss
from etude.objective.objective import B, Objective
from etude.objective.randomness import SAMPLE, VALIDATION
from etude.records import Prompt
from etude.rl.completions import Completion, CompletionBatch, metric_means, part_sums, zero_variance
from etude.rl.episode import Episode, Keys, Play, Row, n_own, targets_of, text_of
from etude.rl.rewards import Scores, score_episodes
from etude.rl.rollout import RolloutSource

ROUNDING = {"64-true": 1e-9, "32-true": 1e-4}
"""Largest mean |log-ratio| per token that rounding explains, by precision; otherwise 0.1."""

P = TypeVar("P", bound=OnPolicyConfig)


class PromptBatch:
    """Held-out prompts; Lightning leaves it alone, because it is not a dataclass."""

    def __init__(self, records: Sequence[Prompt]) -> None:
        self.records = records


class OnPolicyObjective(Objective[P, B]):
    """Base of objectives that train on completions sampled from their own policy."""

    sample_type: type
    """The dataclass of arrays that `rollout` returns a list of; it is saved in checkpoints."""
    max_draws: int = 1
    """How many times prompts may be drawn for a rollout until enough have a learning signal."""
    own_counts: bool = True
    is_fresh: bool = False
    """Whether the policy has not been updated since it sampled the current rollout."""

    def __init__(self, config: P, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        require(
            config.max_new_tokens < tools.seq_len,
            f"max_new_tokens must be below data.seq_len, which includes the prompt, got "
            f"{config.max_new_tokens} and {tools.seq_len}",
        )
        for run in tools.teachers:
            n = read_model(run).seq_len
            if n is not None and n < tools.seq_len:
                self.notes.append(f"reward    {run} reads at most {n} tokens, and cuts the rest")

    @abstractmethod
    def rollout(self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]) -> list[Any]:
        """Samples and scores `group_size` completions per prompt; a prompt's key is their seed.

        The samples of a prompt are consecutive.
        """

    @property
    def samples_per_prompt(self) -> int:
        """Number of samples that `rollout` returns per prompt."""
        return self.config.group_size

    def has_signal(self, group: Sequence[Any]) -> bool:
        """Whether to train on a prompt's samples, if `max_draws` allows drawing other prompts."""
        return True

    def example(self, record: Any, rng: np.random.Generator) -> Any:
        """Returns the record: the samples of a rollout need no processing."""
        return record

    @property
    def prompt_room(self) -> int:
        """Longest prompt that the policy reads, in tokens."""
        return self.tools.seq_len - self.config.max_new_tokens

    def select_samples(self, samples: Samples) -> Samples:
        """Drops prompts that the chat template rejects."""
        return self.drop_samples(samples, self._drop_reason)

    def _drop_reason(self, record: Prompt) -> None:
        self._encode([record])  # raises TemplateError

    def cuts(self, sample: Prompt) -> Iterable[str]:
        (ids,) = self._encode([sample], sys.maxsize)
        return [PROMPTS_CUT] if len(ids) > self.prompt_room else []

    def source(self, samples: Samples, global_batch: int, seed: int, ranks: Ranks) -> RolloutSource:
        return RolloutSource(self, samples, global_batch, seed, ranks)

    def held_out_batch(
        self, records: Sequence[Prompt], rngs: Sequence[np.random.Generator]
    ) -> PromptBatch:
        return PromptBatch(records)

    def evaluate(self, batch: PromptBatch) -> tuple[Loss, float]:
        """Scores greedy completions of held-out prompts; the loss is the negative reward."""
        prompts = batch.records
        keys = self.held_out_keys(len(prompts))
        rewards, parts = self.score(prompts, self.complete(prompts, keys, Greedy()))
        reward = rewards.nansum()
        n_scored = float((~rewards.isnan()).sum())
        return Loss(-reward, {"reward": reward, **part_sums(parts)}), n_scored

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return metric_means(means)

    def show(self, records: Sequence[Prompt]) -> list[str]:
        keys = self.held_out_keys(len(records), SAMPLE)
        episodes = self.complete(records, keys, self.tools.decoding)
        texts = [text_of(episode, self.tools.tokenizer.decode) for episode in episodes]
        asked = self._asked(records)
        return [f"{r.prompt} [...] {text}" for r, text in zip(asked, texts, strict=True)]

    def held_out_keys(self, n: int, purpose: int = VALIDATION) -> list[Keys]:
        """Returns the keys of the episodes of n held-out prompts."""
        keys = [(self.tools.seed, purpose, i) for i in range(n)]
        return [Keys(key, key) for key in keys]

    def _encode(self, prompts: Sequence[Prompt], room: int | None = None) -> list[Ids]:
        """Returns the ids that the policy reads first, cut to `prompt_room` by default."""
        length = room or self.prompt_room
        tokenizer = self.tools.tokenizer
        return [prompt_ids(tokenizer, p.prompt, length) for p in self._asked(prompts)]

    def _asked(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        """Returns the prompts that the policy reads, which an environment may change."""
        environment = self.tools.environment
        return prompts if environment is None else [environment.prompt(p) for p in prompts]

    @property
    def stop(self) -> StopStrings:
        """The strings that end a turn, besides the stop tokens."""
        environment = self.tools.environment
        strings = [*self.config.stop, *(environment.stop if environment else ())]
        return StopStrings(strings, self.tools.tokenizer.decode)

    def complete(
        self,
        prompts: Sequence[Prompt],
        keys: Sequence[Keys],
        decoding: Decoding | None = None,
    ) -> list[Episode]:
        """Samples one completion per prompt, in one turn or with an environment."""
        config = self.config
        tools = self.tools
        options = GenerationOptions(
            decoding or Ancestral(config.temperature),
            stop=self.stop,
            generation_batch=config.generation_batch,
        )

        def write(requests: Sequence[Request]) -> list[Generation]:
            return tools.generator.generate(self.network, requests, options)

        play = Play(tools.environment, tools.tokenizer, config.max_new_tokens, write)
        with self.eval_mode():
            return play(prompts, self._encode(prompts), keys)

    def sample_and_score(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> tuple[list[Episode], Float[Tensor, "prompt group"], Scores]:
        """Samples `group_size` completions per prompt, and returns their rewards and parts."""
        group = self.config.group_size
        repeated = [prompt for prompt in prompts for _ in range(group)]
        episodes = self.complete(repeated, [Keys((*k, i), k) for k in keys for i in range(group)])
        rewards, parts = self.score(repeated, episodes)
        return episodes, rewards.unflatten(0, (-1, group)), parts

    def sample_completions(
        self,
        prompts: Sequence[Prompt],
        keys: Sequence[tuple[int, ...]],
        reference: nn.Module | None = None,
    ) -> list[Completion]:
        """Samples completions of each prompt, with their KL from a reference, if there is one."""
        episodes, rewards, parts = self.sample_and_score(prompts, keys)
        log_probs = self.log_probs(episodes)
        reference_log_probs = log_probs
        if reference is not None:
            reference_log_probs = self.log_probs(episodes, reference)
        same = zero_variance(rewards).repeat_interleave(rewards.shape[1]).tolist()
        return [
            Completion(
                prompt=episode.prompt,
                completion=episode.completion,
                log_prob=log_probs[i],
                reward=float(rewards.flatten()[i]),
                is_finished=episode.is_finished,
                has_zero_variance=same[i],
                kl=float((log_probs[i] - reference_log_probs[i]).sum()),
                parts={name: float(scores[i]) for name, scores in parts.items()},
                replies=episode.replies,
            )
            for i, episode in enumerate(episodes)
        ]

    def score(
        self, prompts: Sequence[Prompt], episodes: Sequence[Episode]
    ) -> tuple[Float[Tensor, " batch"], Scores]:
        """Returns the reward of each completion and, if there are several, the scores by name."""
        return score_episodes(self.tools, prompts, episodes)

    def log_probs(self, rows: Sequence[Row], network: nn.Module | None = None) -> list[np.ndarray]:
        """Log-probability, in nats, of each of the policy's own tokens, one array per row.

        Under the current policy, unless another network is given; at the sampling temperature.
        """
        model = network or self.network
        temperature = self.config.temperature
        return self.per_token(rows, lambda due: token_log_prob(model, due, temperature))

    def per_token(
        self, rows: Sequence[Row], compute: Callable[[Targets], Float[Tensor, "n ..."]]
    ) -> list[np.ndarray]:
        """Returns the result of `compute` for each of the policy's own tokens, row by row."""
        values: list[np.ndarray] = []
        with self.eval_mode():
            for part in chunks(rows, self.config.generation_batch):
                targets = targets_of(part, self.network)
                targets = self.transfer_batch_to_device(targets, self.device, 0)
                ends = np.cumsum([n_own(row) for row in part])[:-1]
                values += np.split(compute(targets).cpu().numpy(), ends)
        return values

    def recompute_log_probs(
        self, batch: CompletionBatch
    ) -> tuple[Float[Tensor, "n vocab"], Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Returns logits, log-probability and log-ratio (see `log_ratio`) of each target token."""
        random_before = random_state(self.device)
        logits = target_logits(self.network, batch.targets, self.config.temperature)
        log_prob = log_prob_of(logits, batch.targets)
        return logits, log_prob, self.log_ratio(log_prob, batch, random_before)

    def log_ratio(
        self, log_prob: Float[Tensor, " n"], batch: CompletionBatch, random_before: Tensor
    ) -> Float[Tensor, " n"]:
        """Log-ratio of the current policy to the one that sampled, per token.

        On the first step of a rollout the weights have not changed, so it must be 0, up to rounding
        due to different padding. This is not checked if random numbers were drawn since the state
        `random_before` was taken, as dropout does.
        """
        log_ratio = log_prob - batch.log_prob
        if __debug__ and self.is_fresh and torch.equal(random_before, random_state(self.device)):
            error = float(log_ratio.detach().abs().mean().nan_to_num())
            assert error <= ROUNDING.get(self.trainer.precision, 0.1), (
                "The trained policy is not the one that sampled the rollout: log-probabilities "
                f"differ by {error:.2g} nats per token before the first update."
            )
        return log_ratio

    def token_values(self, batch: Any) -> dict[str, Float[Tensor, " n"]]:
        """Returns numbers of each target token of a batch, row by row, for a person to read."""
        if not isinstance(batch, CompletionBatch):
            return {}
        reference = dict(self.named_children()).get("reference")
        with self.eval_mode():
            return batch.token_values(reference, self.config.temperature)

    @contextmanager
    def eval_mode(self) -> Generator[None]:
        """Runs the body in eval mode, without gradients, in the precision of training."""
        was_training = self.training
        self.eval()
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            yield
        self.train(was_training)


def random_state(device: torch.device) -> Tensor:
    """Returns the state of the device's random generator."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
