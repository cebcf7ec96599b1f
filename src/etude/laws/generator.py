"""Laws of generators: a completion depends only on its request, and keeps its limits."""

from collections.abc import Sequence

import numpy as np

from etude.config.registry import build
from etude.laws.trial import Trial
from etude.laws.verdict import Finding, broken, held, holds
from etude.network.generation import Generation, GenerationOptions, Generator, Request

LENGTHS = (3, 1, 6, 4)
"""Prompt lengths of the requests, in tokens; each also has its own limit."""
MOST = 9
"""The largest number of tokens of a prompt and its completion."""


def completions_are_reproducible(trial: Trial) -> Finding:
    """The same requests have the same completions, with a newly built generator."""
    first, again = _complete(trial, None), _complete(trial, None)
    return holds(_ids(first) == _ids(again), f"{len(first)} requests, twice")


def completions_do_not_depend_on_the_batch(trial: Trial) -> Finding:
    """A request has the same completion alone and with others, of other lengths."""
    alone = _ids(_complete(trial, 1))
    for size in (2, 3, None):
        if _ids(_complete(trial, size)) != alone:
            return broken(f"with generation_batch={size}, completions differ from those alone")
    return held(f"{len(LENGTHS)} requests in batches of 1, 2, 3 and {len(LENGTHS)}")


def limits_and_stop_tokens_end_a_completion(trial: Trial) -> Finding:
    """No completion exceeds its limit, or goes on after a stop token; each token has log p <= 0."""
    stops = trial.corpus.tokenizer.vocab.stops
    for row, length in zip(_complete(trial, None), LENGTHS, strict=True):
        if len(row.ids) > MOST - length or len(row.log_probs) != len(row.ids):
            return broken(f"{len(row.ids)} tokens with a limit of {MOST - length}")
        if any(token in stops for token in row.ids[:-1]):
            return broken("a completion goes on after a stop token")
        if not all(log_prob <= 1e-9 for log_prob in row.log_probs):
            return broken(f"log-probabilities up to {max(row.log_probs):.2g} nats")
    return held(f"{len(LENGTHS)} requests")


def _complete(trial: Trial, generation_batch: int | None) -> list[Generation]:
    network = trial.network
    ids = trial.corpus.tokenizer.text_ids
    generator: Generator = build(trial.tested, trial.corpus.tokenizer)
    decoding = build(trial.config.decoding, trial.corpus.tokenizer)
    draw = np.random.default_rng(0)
    requests = [
        Request(draw.choice(ids, n).tolist(), np.random.default_rng(n), MOST - n) for n in LENGTHS
    ]
    options = GenerationOptions(decoding, generation_batch=generation_batch)
    return generator.generate(network, requests, options)


def _ids(rows: Sequence[Generation]) -> list[list[int]]:
    return [row.ids for row in rows]
