"""Simulates rollouts on fake tensors, with every completion at its maximum length.

Nothing is sampled, since fake tensors have no values. The policy and the other networks still run
on the completions, to count their memory, but their outputs are replaced by 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.network.decoding import Decoding
from etude.network.inputs import Targets
from etude.network.kv_cache import KvCache
from etude.objective.batches import Ids, prompt_ids
from etude.objective.loader import chunks
from etude.records import Prompt
from etude.rl.episode import Episode, Keys, Row, n_own, targets_of
from etude.rl.on_policy import OnPolicyObjective


class FakePolicy:
    """Replaces the value-dependent methods of an on-policy objective: generate, score, evaluate."""

    def __init__(self, objective: OnPolicyObjective[Any, Any]) -> None:
        self.objective = objective
        self.config = objective.config

    def patch(self) -> None:
        """Patches the objective's methods with those of this class."""
        self.objective.complete = self.complete
        self.objective.score = self.score
        self.objective.per_token = self.per_token
        self.objective.over_ranks = self.over_ranks

    def over_ranks(self, value: Tensor) -> Tensor:
        """Returns the value unchanged, as on a single rank."""
        return value

    def complete(
        self,
        prompts: Sequence[Prompt],
        keys: Sequence[Keys],
        decoding: Decoding | None = None,
    ) -> list[Episode]:
        """Returns completions of maximum length, in a single turn."""
        tools = self.objective.tools
        n_new = self.config.max_new_tokens
        room = self.objective.prompt_room
        inputs = [prompt_ids(tools.tokenizer, prompt.prompt, room) for prompt in prompts]
        last = tools.tokenizer.vocab.size - 1
        with self.objective.eval_mode():
            generation(self.objective, inputs[: self.config.generation_batch], n_new)
        return [Episode(ids, completion=[last] * n_new) for ids in inputs]

    def score(
        self, prompts: Sequence[Prompt], episodes: Sequence[Episode]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns different rewards, so that the advantages are not zero."""
        return torch.arange(len(prompts), dtype=torch.float64), {}

    def per_token(
        self, rows: Sequence[Row], compute: Callable[[Targets], Tensor]
    ) -> list[np.ndarray]:
        """Runs the network as training does, and returns 0 for each token."""
        found: list[np.ndarray] = []
        with self.objective.eval_mode():
            for part in chunks(rows, self.config.generation_batch):
                shape = compute(targets_of(part, self.objective.network)).shape[1:]
                found += [np.zeros((n_own(row), *shape), np.float32) for row in part]
        return found


def generation(objective: Any, prompts: Sequence[Ids], n: int) -> KvCache:
    """Returns a cache prefilled with prompts, with room for n more tokens. Call under no_grad."""
    inputs = objective.network.prompt(prompts)
    cache = KvCache(inputs.tokens.shape[1] + n)
    objective.network.logits(objective.network.states(inputs, cache)[:, -1])
    return cache
