"""Generation: one token at a time, with a cache, for every network that provides GENERATE.

`generate` is the engine behind rollouts, samples, `etude generate` and evaluation. Its contract is
narrow, so that another engine can replace it: it returns one `Generation` per request, in order.
The result of a request depends only on its own prompt, random generator and limit, not on other
requests. Float sums depend on the shape of a batch, so rounding may still flip a near tie.

Repetition penalty: Keskar et al. 2019 (CTRL), https://arxiv.org/abs/1909.05858, section 4.1,
with negative logits multiplied, as in transformers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Bool
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from etude.network.decoding import Decoding
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.network.network import Network
from etude.network.precision import to_fp32


@dataclass(frozen=True)
class Request:
    """A prompt to complete."""

    prompt: Sequence[int]
    rng: np.random.Generator
    """Source of randomness: one number per token."""
    max_new_tokens: int


@dataclass
class Generation:
    """The completion of a prompt."""

    ids: list[int] = field(default_factory=list[int])
    """The new tokens, including the stop token."""
    log_probs: list[float] = field(default_factory=list[float])
    """log p of each token, in nats, under the distribution it was sampled from."""
    ended: bool = False
    """Whether it ended with a stop token or string, not at its limit."""


@dataclass(frozen=True)
class StopStrings:
    """Strings that end a completion as soon as its text contains one, across token boundaries.

    The token that completes the string is the last one, and is kept with any text after it.
    """

    strings: Sequence[str]
    decode: Callable[[Sequence[int]], str]

    def found_in(self, ids: Sequence[int]) -> bool:
        """Whether the text of new tokens contains a stop string."""
        text = self.decode(ids) if self.strings else ""
        return any(string in text for string in self.strings)

    def before(self, text: str) -> str:
        """The text up to the first stop string; all of it if it contains none."""
        return text[: min((i for i in map(text.find, self.strings) if i >= 0), default=len(text))]

    def settled_text(self, text: str) -> str:
        """The part of an unfinished text that no later token can make part of a stop string."""
        before = self.before(text)
        begun = (
            n
            for string in self.strings
            for n in range(1, len(string) + 1)
            if before.endswith(string[:n])
        )
        return before[: len(before) - max(begun, default=0)]


class GeneratedToken(NamedTuple):
    """The next token of a request; `request` is the index in the list."""

    request: int
    id: int
    log_prob: float
    ends: bool
    """Whether it is a stop token or completes a stop string."""


def generate(
    network: Network,
    requests: Sequence[Request],
    decoding: Decoding,
    *,
    whole: bool = False,
    stop: StopStrings | None = None,
    generation_batch: int | None = None,
) -> list[Generation]:
    """Returns the completion of each request.

    A request ends with a stop token of the network's vocabulary, with a stop string, or at its
    limit. With `whole`, the tokens of a prompt see one another. `generation_batch` is the number
    of requests per batch, all by default. The network should be in eval mode; the result is on the
    CPU. With a sharded network, every rank must call this equally often, even without requests.
    """
    written = [Generation() for _ in requests]
    size = generation_batch or max(1, len(requests))
    start = 0
    while _any_rank(network, start < len(requests)):
        part = requests[start : start + size]
        for tokens in stream(network, part, decoding, whole=whole, stop=stop):
            for token in tokens:
                row = written[start + token.request]
                row.ids.append(token.id)
                row.log_probs.append(token.log_prob)
                row.ended = token.ends
        start += size
    return written


def stream(
    network: Network,
    requests: Sequence[Request],
    decoding: Decoding,
    *,
    whole: bool = False,
    stop: StopStrings | None = None,
) -> Iterator[list[GeneratedToken]]:
    """Yields the next token of every unfinished request, step by step."""
    rows = _Rows(network, requests or [_dummy_request(network)], whole)
    budgets = {i: r.max_new_tokens for i, r in enumerate(requests) if r.max_new_tokens > 0}
    texts: list[list[int]] = [[] for _ in requests]
    while _any_rank(network, bool(budgets)):
        ids, log_probs = rows.step(decoding)
        tokens: list[GeneratedToken] = []
        for request, token, log_prob in zip(rows.requests, ids, log_probs, strict=True):
            if request not in budgets:
                continue
            texts[request].append(token)
            ends = token in network.vocab.stops
            ends = ends or (stop is not None and stop.found_in(texts[request]))
            budgets[request] -= 1
            if ends or budgets[request] == 0:
                del budgets[request]
            tokens.append(GeneratedToken(request, token, log_prob, ends))
        yield tokens
        rows.drop_finished(budgets)


class _Rows:
    """The requests of one batch, one row each, with their state."""

    def __init__(self, network: Network, requests: Sequence[Request], whole: bool) -> None:
        device = next(network.parameters()).device
        n = max(1, *(request.max_new_tokens for request in requests))
        self.network = network
        self.requests = list(range(len(requests)))
        """The request of each row."""
        self.inputs = network.prompt([request.prompt for request in requests], whole=whole)
        self.inputs = self.inputs.to(device)
        self.cache = KvCache(self.inputs.tokens.shape[1] + n)
        draws = np.stack([request.rng.random(n) for request in requests])
        self.draws = torch.from_numpy(draws).to(device)
        self.seen = _seen_tokens(self.inputs, network.vocab.size)
        self.steps = 0

    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")  # otherwise recompiled for each length
    def step(self, decoding: Decoding) -> tuple[list[int], list[float]]:
        """Reads the new tokens; returns the next ones with their log-probabilities."""
        last = None
        if self.inputs.tokens.shape[1] > 1:
            last = torch.zeros_like(self.inputs.tokens, dtype=torch.bool)
            last[:, -1] = True
        logits = self.network(self.inputs, last, self.cache).flatten(0, -2)  # batch vocab
        scores = decoding.scores(to_fp32(logits), self.seen)
        tokens = decoding.choose(scores, self.draws[:, self.steps])
        log_probs = scores.gather(1, tokens[:, None])[:, 0] - scores.logsumexp(dim=1)
        self.seen.scatter_(1, tokens[:, None], True)
        self.inputs = Inputs(tokens[:, None])
        self.steps += 1
        return tokens.tolist(), log_probs.tolist()

    def drop_finished(self, unfinished: Sequence[int] | dict[int, int]) -> None:
        """Removes the finished rows once they make up half of the batch.

        A rank whose rows are all finished keeps one row, at the same position, so that it can run
        along with the other ranks (see `generate`).
        """
        kept = [row for row, request in enumerate(self.requests) if request in unfinished]
        if not kept:
            kept, self.steps, self.cache.length = [0], self.steps - 1, self.cache.length - 1
        if 2 * len(kept) > len(self.requests):
            return
        rows = torch.tensor(kept, device=self.seen.device)
        self.requests = [self.requests[row] for row in kept]
        self.draws, self.seen = self.draws[rows], self.seen[rows]
        self.inputs = Inputs(self.inputs.tokens[rows])
        self.cache.select_rows(rows)


def _seen_tokens(inputs: Inputs, n_vocab: int) -> Bool[Tensor, "batch vocab"]:
    """Returns which token ids each row contains, ignoring padding."""
    real = torch.ones_like(inputs.tokens) if inputs.documents is None else inputs.documents
    counts = real.new_zeros((len(real), n_vocab))
    return counts.scatter_add_(1, inputs.tokens, (real > 0).long()) > 0


def _dummy_request(network: Network) -> Request:
    return Request([network.vocab.eos], np.random.default_rng(0), 1)


def _any_rank(network: Network, needed: bool) -> bool:
    """Whether this rank or, with a sharded network, any rank needs another forward pass."""
    if not isinstance(network, FSDPModule):
        return needed
    flag = torch.tensor(float(needed), device=next(network.parameters()).device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)
