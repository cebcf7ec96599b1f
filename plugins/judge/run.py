"""A run of étude as the judge: how likely it is to answer A rather than B.

Lee et al. 2023 (RLAIF), https://arxiv.org/abs/2309.00267, section 2.1: the label is soft, p = p(A)
/ (p(A) + p(B)) of the letters after the question, not a sampled letter; the mean over both orders.
It runs on the CPU. A question longer than the network's context has no verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from omegaconf import MISSING

from etude import Capability, ConfigError, plugin, require
from etude.config import QUESTION, JudgeConfig, capabilities_of, max_positions_of
from etude.data import exchange
from etude.formats import read_model
from etude.objective import Ids, chunks, sequence_log_prob
from etude.rl import Comparison, check_question, in_both_orders


@dataclass
class RunJudgeConfig(JudgeConfig):
    run: str = MISSING
    """The model that judges: a run folder or a Hugging Face folder."""
    question: str = QUESTION
    """Prompt template with {prompt}, {first} and {second}; its continuation is A or B."""
    batch: int = 16
    """Questions per forward pass."""

    def __post_init__(self) -> None:
        check_question(self.question)
        require(self.batch >= 1, f"batch must be at least 1, got {self.batch}")


@plugin(RunJudgeConfig, example={"run": "{run}"})
class RunJudge:
    """sigmoid(log p(A) - log p(B)), averaged over both orders."""

    def __init__(self, config: RunJudgeConfig) -> None:
        self.config = config
        model = read_model(config.run)
        if Capability.GENERATE not in capabilities_of(model.architecture):
            raise ConfigError(
                f"judge.run={config.run}: the model cannot generate text, so it cannot answer A or "
                "B.\n  Use a decoder or an encoder-decoder."
            )
        self.tokenizer = model.tokenizer
        self.max_tokens = max_positions_of(model.architecture)
        self.network = model.network().requires_grad_(False).eval()

    def __call__(self, comparisons: Sequence[Comparison]) -> list[float]:
        return in_both_orders(self._ask, comparisons)

    def _ask(self, comparisons: Sequence[Comparison]) -> list[float]:
        texts = [comparison.format_question(self.config.question) for comparison in comparisons]
        probabilities = [math.nan] * len(texts)
        sides = [[self._pair(text, letter) for letter in "AB"] for text in texts]
        fits = [i for i, pairs in enumerate(sides) if all(map(self._fits, pairs))]
        for part in chunks(fits, self.config.batch):
            a, b = (self._log_probs([sides[i][side] for i in part]) for side in (0, 1))
            for i, probability in zip(part, torch.sigmoid(a - b).tolist(), strict=True):
                probabilities[i] = probability
        return probabilities

    def _pair(self, question: str, letter: str) -> tuple[Ids, Ids]:
        """Ids of a question and of an answer letter, without the tokens that end an answer."""
        before, after = exchange(self.tokenizer, question, letter)
        return before, [i for i in after if i not in self.tokenizer.vocab.special]

    def _fits(self, pair: tuple[Ids, Ids]) -> bool:
        return self.max_tokens is None or sum(map(len, pair)) <= self.max_tokens

    @torch.no_grad()
    def _log_probs(self, pairs: Sequence[tuple[Ids, Ids]]) -> torch.Tensor:
        return sequence_log_prob(self.network, self.network.answer(pairs))
