"""Generation: one token at a time, with a cache, for every network that provides GENERATE."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude.context import KvCache
from etude.contracts import Decoding
from etude.functional import wide
from etude.inputs import Inputs
from etude.network import Network


class Greedy(Decoding):
    """The likeliest token."""

    def choose(
        self, logits: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return logits.argmax(dim=-1)


class Ancestral(Decoding):
    """A token drawn from softmax(logits / temperature), by inverting the distribution."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def choose(
        self, logits: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        reached = (wide(logits) / self.temperature).softmax(dim=-1).cumsum(dim=-1)
        end = reached[:, -1:]
        below = torch.nextafter(end, torch.zeros_like(end))  # a draw may round up to 1
        threshold = torch.minimum(draw[:, None].to(reached.dtype) * end, below)
        return torch.searchsorted(reached, threshold, right=True)[:, 0]


def generate(
    network: Network,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    decoding: Decoding,
    rngs: Sequence[np.random.Generator],
    whole: bool = False,
) -> list[list[int]]:
    """Returns the ids that follow each prompt, up to and with the stop, at most `max_new_tokens`.

    Each sequence draws from its own generator, so its sample does not depend on its neighbours.
    With `whole`, the tokens of a prompt see one another. The network should be in eval mode;
    prompts and outputs live on the CPU.
    """
    steps = stream(
        network,
        prompts,
        max_new_tokens=max_new_tokens,
        decoding=decoding,
        rngs=rngs,
        whole=whole,
    )
    written = zip(*steps, strict=True)
    return [_through_stop(list(row), network.vocab.stops) for row in written]


@torch.no_grad()
def stream(
    network: Network,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    decoding: Decoding,
    rngs: Sequence[np.random.Generator],
    whole: bool = False,
) -> Iterator[list[int]]:
    """Yields the next id of every row, step by step; eos for a row that has ended."""
    device = next(network.parameters()).device
    inputs = network.prompt(prompts, whole=whole).to(device)
    draws = torch.from_numpy(np.stack([rng.random(max_new_tokens) for rng in rngs])).to(device)
    cache = KvCache(inputs.tokens.shape[1] + max_new_tokens)
    last = torch.zeros_like(inputs.tokens, dtype=torch.bool)
    last[:, -1] = True
    alive = torch.ones(len(prompts), dtype=torch.bool, device=device)
    stops = torch.tensor(network.vocab.stops, device=device)
    for step in range(max_new_tokens):
        logits = network(inputs, last, cache)
        tokens = torch.where(alive, decoding.choose(logits, draws[:, step]), network.vocab.eos)
        yield tokens.tolist()
        alive &= ~torch.isin(tokens, stops)
        if not alive.any():
            return
        inputs, last = Inputs(tokens[:, None]), alive.new_ones(len(prompts), 1)


def _through_stop(ids: list[int], stops: Sequence[int]) -> list[int]:
    ends = (place for place, token in enumerate(ids, start=1) if token in stops)
    return ids[: next(ends, None)]
