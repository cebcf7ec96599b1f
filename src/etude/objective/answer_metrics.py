"""Metrics that compare the answers of a network with reference answers.

chrF: Popovic 2015, https://aclanthology.org/W15-3049, as in sacrebleu; ROUGE-L: Lin 2004,
https://aclanthology.org/W04-1013, the F-measure of stemmed words, as in rouge-score. Both are
computed per answer and averaged, from 0 to 1; corpus-level scores may differ.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from etude.capability import Capability
from etude.config.capabilities import capabilities_of
from etude.config.schema.measure import Measure
from etude.errors import ConfigError
from etude.network.decoding import Greedy
from etude.network.generation import GenerationOptions, Request
from etude.objective.batches import Ids
from etude.objective.objective import Objective
from etude.objective.randomness import SAMPLE, rng


class HeldOutPrompts:
    """Prompts with their reference answers; its repr is only their number."""

    def __init__(self, pairs: Sequence[tuple[Ids, Ids]]) -> None:
        self.pairs = pairs

    def __repr__(self) -> str:
        return f"{len(self.pairs)} prompts"


@cache
def similarity(measure: Measure) -> Callable[[str, str], float]:
    """Returns a function of (answer, reference), 0 to 1. Raises ConfigError without `[text]`."""
    try:
        if measure is Measure.chrf:
            from sacrebleu.metrics.chrf import CHRF

            chrf = CHRF()
            return lambda answer, right: chrf.sentence_score(answer, [right]).score / 100
        if measure is Measure.rouge_l:
            from rouge_score.rouge_scorer import RougeScorer

            rouge = RougeScorer(["rougeL"], use_stemmer=True)
            return lambda answer, right: rouge.score(right, answer)["rougeL"].fmeasure
    except ImportError as error:
        raise ConfigError(
            f"objective.measures={measure.value} needs {error.name}, which is not installed.\n"
            "  Install it with: pip install 'etude[text]'."
        ) from error
    return lambda answer, right: float(answer == right)


def score_answers(
    objective: Objective[Any, Any],
    prompts: HeldOutPrompts | None,
    max_new_tokens: int,
    measures: Sequence[Measure],
) -> dict[str, Tensor]:
    """Returns sums for `evaluate`: the number of prompts and each measure."""
    if prompts is None or max_new_tokens == 0:
        return {}
    answers = answer_pairs(objective, prompts.pairs, max_new_tokens)
    sums = {m.value: sum(similarity(m)(*pair) for pair in answers) for m in measures}
    sums["n_prompts"] = float(len(answers))
    return {name: torch.tensor(n, device=objective.device) for name, n in sums.items()}


def average_measures(means: Mapping[str, float], measures: Sequence[Measure]) -> dict[str, float]:
    """Returns the means, with each measure averaged over the prompts; NaN without prompts."""
    averaged = dict(means)
    if (n := averaged.pop("n_prompts", None)) is not None:
        for measure in measures:
            averaged[measure.value] = averaged[measure.value] / n if n else float("nan")
    return averaged


def answer_pairs(
    objective: Objective[Any, Any], pairs: Sequence[tuple[Ids, Ids]], max_new_tokens: int
) -> list[tuple[str, str]]:
    """Returns the answer to each prompt, by greedy decoding, with its reference answer.

    White space at the ends is stripped. No answer is longer than `max_new_tokens`, nor than the
    longest reference answer.
    """
    tools = objective.tools
    longest = min(max_new_tokens, max((len(answer) for _, answer in pairs), default=0))
    # If the prompt is the source, it takes no positions from the answer.
    has_source = Capability.SOURCE_TARGET in capabilities_of(tools.architecture)

    def token_limit(prompt: Ids, answer: Ids) -> int:
        """Returns the token limit of an answer, so that no position exceeds `seq_len`."""
        fits = has_source or len(prompt) + longest <= tools.seq_len
        return longest if fits else min(max_new_tokens, len(answer))

    requests = [Request(p, rng(tools.seed, SAMPLE), token_limit(p, a)) for p, a in pairs]
    rows = tools.generator.generate(objective.network, requests, GenerationOptions(Greedy()))
    answers = [tools.tokenizer.decode(row.ids).strip() for row in rows]
    references = [tools.tokenizer.decode(answer).strip() for _, answer in pairs]
    return list(zip(answers, references, strict=True))
