"""On-policy objectives: the data is what the policy itself writes.

The step is the same as everywhere: a rollout source yields windows of samples, `loss(batch)` sees
them. Beside it there is one more thing to write, `rollout`.
"""

from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from etude.config.schema.plugins import require
from etude.data.source import Samples
from etude.network.decoding import Ancestral, Decoding, Greedy
from etude.network.generation import Request, StopStrings, Written, generate
from etude.network.inputs import Targets
from etude.network.network import Network
from etude.objective.batches import Ids, prompt_ids
from etude.objective.loader import Ranks, chunks
from etude.objective.log_probs import due_logits, log_prob_of, token_log_prob
from etude.objective.loss import Loss
from etude.objective.objective import B, Objective, ObjectiveContext
from etude.objective.randomness import VALIDATION, rng
from etude.records import Prompt
from etude.rl.completions import Completion, CompletionBatch, metric_means, part_sums, zero_variance
from etude.rl.rewards import WeightedRewards
from etude.rl.rollout import OnPolicyConfig, RolloutSource

ROUNDING = {"64-true": 1e-9, "32-true": 1e-4}
"""The largest |log ratio| of the mean token that rounding explains, by precision; else 0.1."""

P = TypeVar("P", bound=OnPolicyConfig)
Parts: TypeAlias = dict[str, Float[Tensor, " batch"]]
"""What each of several rewards says, by its name."""


@dataclass
class PromptBatch:
    """Held-out prompts; plain strings, since Lightning walks through batches."""

    prompts: list[str]
    answers: list[str | None]


class OnPolicyObjective(Objective[P, B]):
    """Base of objectives that learn from their own completions, sample by sample."""

    sample_type: type
    """The dataclass of arrays that `rollout` returns a list of; it is saved in checkpoints."""
    max_draws: int = 1
    """How often prompts may be drawn for a rollout, until enough of them teach."""
    is_fresh: bool = False
    """Whether the policy is as it was when it wrote the samples in hand."""

    def __init__(self, config: P, network: Network, tools: ObjectiveContext) -> None:
        super().__init__(config, network, tools)
        require(
            config.max_new_tokens < tools.seq_len,
            f"max_new_tokens must be below data.seq_len, which holds prompt and completion, got "
            f"{config.max_new_tokens} and {tools.seq_len}",
        )

    @abstractmethod
    def rollout(self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]) -> list[Any]:
        """Completes each prompt `group_size` times and scores it; its key seeds its samples.

        The samples of a prompt stand side by side.
        """

    @property
    def samples_per_prompt(self) -> int:
        """How many samples `rollout` makes of each prompt."""
        return self.config.group_size

    def teaches(self, group: Sequence[Any]) -> bool:
        """Whether the samples of a prompt are kept, where `max_draws` allows to draw others."""
        return True

    def example(self, record: Any, rng: np.random.Generator) -> Any:
        """A rollout's samples are ready as they are."""
        return record

    def source(self, samples: Samples, window: int, seed: int, ranks: Ranks) -> RolloutSource:
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
        rewards, parts = self.score(prompts, [row.ids for row in written])
        reward = rewards.nansum()
        known = float((~rewards.isnan()).sum())
        return Loss(-reward, {"reward": reward, **part_sums(parts)}), known

    def report(self, means: Mapping[str, float]) -> dict[str, float]:
        return metric_means(means)

    def show(self, records: Sequence[Prompt]) -> list[str]:
        room = self.tools.seq_len - self.config.max_new_tokens
        prompts = [prompt_ids(self.tools.tokenizer, record.prompt, room) for record in records]
        written = self.continuations(prompts, self.config.max_new_tokens, self.stop)
        return [f"{r.prompt} [...] {w}" for r, w in zip(records, written, strict=True)]

    @property
    def stop(self) -> StopStrings:
        """What ends a completion beside the stop tokens."""
        return StopStrings(self.config.stop, self.tools.tokenizer.decode)

    def complete(
        self,
        prompts: Sequence[Prompt],
        rngs: Sequence[np.random.Generator],
        decoding: Decoding | None = None,
    ) -> tuple[list[Ids], list[Written]]:
        """Returns the ids of each prompt and what the policy wrote behind it."""
        config = self.config
        tokenizer = self.tools.tokenizer
        room = self.tools.seq_len - config.max_new_tokens
        before = [prompt_ids(tokenizer, prompt.prompt, room) for prompt in prompts]
        with self.eval_mode():
            written = generate(
                self.network,
                [
                    Request(ids, own, config.max_new_tokens)
                    for ids, own in zip(before, rngs, strict=True)
                ],
                decoding or Ancestral(config.temperature),
                stop=self.stop,
                generation_batch=config.generation_batch,
            )
        return before, written

    def write(
        self, prompts: Sequence[Prompt], keys: Sequence[tuple[int, ...]]
    ) -> tuple[list[Ids], list[Written], Float[Tensor, "prompt group"], Parts]:
        """Completes each prompt `group_size` times: prompts, completions, rewards, their parts."""
        group = self.config.group_size
        repeated = [prompt for prompt in prompts for _ in range(group)]
        rngs = [rng(*key, i) for key in keys for i in range(group)]
        before, written = self.complete(repeated, rngs)
        rewards, parts = self.score(repeated, [row.ids for row in written])
        return before, written, rewards.unflatten(0, (-1, group)), parts

    def attempts(
        self,
        prompts: Sequence[Prompt],
        keys: Sequence[tuple[int, ...]],
        reference: nn.Module | None = None,
    ) -> list[Completion]:
        """What the policy writes for each prompt, with its divergence from a reference, if any."""
        before, written, rewards, parts = self.write(prompts, keys)
        ids = [row.ids for row in written]
        ended = [row.ended for row in written]
        pairs = list(zip(before, ids, strict=True))
        log_probs = self.log_probs(pairs)
        first = log_probs if reference is None else self.log_probs(pairs, reference)
        kl = [float((new - old).sum()) for new, old in zip(log_probs, first, strict=True)]
        same = zero_variance(rewards).repeat_interleave(rewards.shape[1]).tolist()
        columns = before, ids, log_probs, rewards.flatten().tolist(), ended, same, kl
        own = [{name: float(said[i]) for name, said in parts.items()} for i in range(len(written))]
        return [Completion(*row, parts=said) for *row, said in zip(*columns, own, strict=True)]

    def score(
        self, prompts: Sequence[Prompt], completions: Sequence[Sequence[int]]
    ) -> tuple[Float[Tensor, " batch"], Parts]:
        """The reward of each completion and, of several, what each of them says by its name.

        On the CPU and in float64, so that sums are exact.
        """
        reward = self.tools.reward
        assert reward is not None, "compatibility asks every on-policy run for a reward"
        texts = [self.tools.tokenizer.decode(ids) for ids in completions]
        asked = [p.prompt for p in prompts], texts, [p.answer for p in prompts]
        if not isinstance(reward, WeightedRewards) or len(reward.parts) == 1:
            return torch.tensor(reward(*asked), dtype=torch.float64), {}
        said = reward.by_name(*asked)
        parts = {n: torch.tensor(scores, dtype=torch.float64) for n, scores in said.items()}
        return torch.tensor(reward.total(said), dtype=torch.float64), parts

    def log_probs(
        self, pairs: Sequence[tuple[Ids, Ids]], network: nn.Module | None = None
    ) -> list[np.ndarray]:
        """Log-probability, in nats, of each token of each completion of a prompt, in order.

        By the policy as it is, unless another network is given; at the temperature of sampling.
        """
        asked = network or self.network
        temperature = self.config.temperature
        return self.of_tokens(pairs, lambda due: token_log_prob(asked, due, temperature))

    def of_tokens(
        self, pairs: Sequence[tuple[Ids, Ids]], ask: Callable[[Targets], Float[Tensor, "n ..."]]
    ) -> list[np.ndarray]:
        """What `ask` says of the tokens of each completion of a prompt, in order."""
        found: list[np.ndarray] = []
        with self.eval_mode():
            for part in chunks(pairs, self.config.generation_batch):
                targets = self.transfer_batch_to_device(self.network.answer(part), self.device, 0)
                ends = np.cumsum([len(written) for _, written in part])[:-1]
                found += np.split(ask(targets).cpu().numpy(), ends)
        return found

    def recompute_log_probs(
        self, batch: CompletionBatch
    ) -> tuple[Float[Tensor, "n vocab"], Float[Tensor, " n"], Float[Tensor, " n"]]:
        """The logits of each token due, its log p, and by how much that rose (see `log_ratio`)."""
        before = random_state(self.device)
        logits = due_logits(self.network, batch.targets, self.config.temperature)
        log_prob = log_prob_of(logits, batch.targets)
        return logits, log_prob, self.log_ratio(log_prob, batch, before)

    def log_ratio(
        self, log_prob: Float[Tensor, " n"], batch: CompletionBatch, before: Tensor
    ) -> Float[Tensor, " n"]:
        """By how much log p of each token rose since it was written.

        On the first window of a rollout nothing has been learned in between, and that is 0, but for
        what rounding makes of another padding; unless numbers were drawn since `before`, the random
        state before this pass, as dropout does.
        """
        log_ratio = log_prob - batch.log_prob
        if __debug__ and self.is_fresh and torch.equal(before, random_state(self.device)):
            error = float(log_ratio.detach().abs().mean().nan_to_num())
            assert error <= ROUNDING.get(self.trainer.precision, 0.1), (
                f"The policy that learns is not the one that wrote: log p differs by {error:.2g} "
                "on the mean token before anything was learned."
            )
        return log_ratio

    @contextmanager
    def eval_mode(self) -> Generator[None]:
        """All of this as it acts: eval mode, no gradients, the precision of training."""
        was_training = self.training
        self.eval()
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            yield
        self.train(was_training)


def random_state(device: torch.device) -> Tensor:
    """What a drawing of numbers changes."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
