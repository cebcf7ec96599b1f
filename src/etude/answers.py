"""What a network answers, held against the right answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from etude.batches import Ids
from etude.capability import Capability
from etude.compatibility import provided
from etude.generation import Greedy, Request, generate
from etude.objective import Objective
from etude.window import SAMPLE, rng


class Asked:
    """Prompts, each with the answer that it should get; for a reader of the batch, their number."""

    def __init__(self, pairs: Sequence[tuple[Ids, Ids]]) -> None:
        self.pairs = pairs

    def __repr__(self) -> str:
        return f"{len(self.pairs)} prompts"


def exact(
    objective: Objective[Any, Any], asked: Asked | None, max_new_tokens: int
) -> dict[str, Tensor]:
    """Sums for `evaluate`: how many were asked, and how many answered exactly; see `rate`."""
    if asked is None or max_new_tokens == 0:
        return {}
    sums = {"exact_match": n_exact(objective, asked.pairs, max_new_tokens)}
    sums["asked"] = len(asked.pairs)
    return {name: torch.tensor(float(n), device=objective.device) for name, n in sums.items()}


def rate(means: Mapping[str, float]) -> dict[str, float]:
    """The means with exact_match as the share of what was asked, NaN of nothing."""
    said = dict(means)
    if (asked := said.pop("asked", None)) is not None:
        said["exact_match"] = said["exact_match"] / asked if asked else float("nan")
    return said


def n_exact(
    objective: Objective[Any, Any], pairs: Sequence[tuple[Ids, Ids]], max_new_tokens: int
) -> int:
    """How many prompts are answered by the likeliest tokens exactly as their pair says.

    Answers are compared as texts, white space at their ends left out; one that is longer than
    `max_new_tokens` matches none.
    """
    tools = objective.tools
    longest = min(max_new_tokens, max((len(answer) for _, answer in pairs), default=0))
    beside = Capability.SOURCE_TARGET in provided(tools.architecture)  # takes no room of its own

    def room(prompt: Ids, answer: Ids) -> int:
        """So that no place is reached that has no position."""
        fits = beside or len(prompt) + longest <= tools.seq_len
        return longest if fits else min(max_new_tokens, len(answer))

    requests = [Request(prompt, rng(tools.seed, SAMPLE), room(prompt, a)) for prompt, a in pairs]
    texts, wanted = (
        [tools.tokenizer.decode(ids).strip() for ids in side]
        for side in (
            [row.ids for row in generate(objective.network, requests, Greedy())],
            [answer for _, answer in pairs],
        )
    )
    return sum(text == right for text, right in zip(texts, wanted, strict=True))
