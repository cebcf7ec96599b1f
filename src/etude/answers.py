"""What a network answers, held against the right answer."""

from collections.abc import Sequence
from typing import Any

from etude.batches import Ids
from etude.generation import Greedy, generate
from etude.objective import Objective
from etude.window import SAMPLE, rng


def n_exact(
    objective: Objective[Any, Any], pairs: Sequence[tuple[Ids, Ids]], max_new_tokens: int
) -> int:
    """How many prompts are answered by the likeliest tokens exactly as their pair says.

    Answers are compared as texts, white space at their ends left out; one that is longer than
    `max_new_tokens` matches none.
    """
    tools, n = objective.tools, 0
    longest = min(max_new_tokens, max((len(answer) for _, answer in pairs), default=0))
    fits = [pair for pair in pairs if len(pair[0]) + longest <= tools.seq_len]
    alone = [[pair] for pair in pairs if len(pair[0]) + longest > tools.seq_len]
    for part in filter(None, [fits, *alone]):  # so that no place is reached that has no position
        written = generate(
            objective.network,
            [prompt for prompt, _ in part],
            max_new_tokens=min(max_new_tokens, max(len(answer) for _, answer in part)),
            decoding=Greedy(),
            rngs=[rng(tools.seed, SAMPLE)] * len(part),
        )
        texts, wanted = (
            [tools.tokenizer.decode(ids).strip() for ids in side]
            for side in (written, [answer for _, answer in part])
        )
        n += sum(text == right for text, right in zip(texts, wanted, strict=True))
    return n
