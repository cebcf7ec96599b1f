"""Generation one token at a time, with a cache, for every network that provides GENERATE."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule

from etude.network.generation import (
    GeneratedToken,
    GenerationOptions,
    Generator,
    Request,
    Rows,
)
from etude.network.network import Network


class Autoregressive(Generator):
    """Samples each token from the distribution after all tokens before it.

    With `refill`, requests that wait take the places of finished ones (continuous batching): fewer
    passes, in which the unfinished rows are read again. Otherwise one batch ends before the next
    begins; with a sharded network, every rank must call it equally often, even without requests.
    """

    def __init__(self, refill: bool = False) -> None:
        self.refill = refill

    def stream(
        self, network: Network, requests: Sequence[Request], options: GenerationOptions
    ) -> Iterator[list[GeneratedToken]]:
        size = options.batch_size(len(requests))
        start = 0
        while any_rank(network, start < len(requests)):
            batch = _Batch(network, requests[start : start + size], options, start)
            start += size
            while any_rank(network, bool(batch.budgets)):
                yield batch.advance()
                n_free = size - len(batch.budgets)
                if self.refill and start < len(requests) and 2 * n_free >= size:
                    batch.admit(requests[start : start + n_free], start)
                    start += n_free
                else:
                    batch.drop_finished()


class _Batch:
    """The requests that are generated together, one row each, with what is left of each."""

    def __init__(
        self,
        network: Network,
        requests: Sequence[Request],
        options: GenerationOptions,
        first: int,
    ) -> None:
        self.budgets: dict[int, int] = {}
        """Tokens left, by unfinished request."""
        self.prompts: dict[int, Sequence[int]] = {}
        self.texts: dict[int, list[int]] = {}
        self.draws: dict[int, np.ndarray] = {}
        self._add_requests(requests, first)
        if not requests:
            idle = Request([network.vocab.eos], np.random.default_rng(0), 1)
            self._add_requests([idle], first)
            self.budgets = {}
        self.stops = frozenset(network.vocab.stops)
        self.options = options
        room = max(map(len, self.draws.values()))
        prompts = list(self.prompts.values())
        self.rows = Rows(network, prompts, options.decoding, room=room, whole=options.whole)
        self._set_requests(list(self.prompts))

    def _set_requests(self, requests: list[int]) -> None:
        """Sets the request of each row, and the random numbers of its next tokens.

        A row that has ended repeats its last one.
        """
        self.requests = requests
        starts = [min(len(self.texts[i]), len(self.draws[i]) - 1) for i in requests]
        rest = [self.draws[i][start:] for i, start in zip(requests, starts, strict=True)]
        width = max(map(len, rest))
        table = np.stack([np.pad(row, (0, width - len(row)), "edge") for row in rest])
        self.table = torch.from_numpy(table).to(self.rows.inputs.tokens.device)
        self.n_drawn = 0

    def _add_requests(self, requests: Sequence[Request], first: int) -> None:
        for number, request in enumerate(requests, first):
            if request.max_new_tokens > 0:
                self.budgets[number] = request.max_new_tokens
            self.prompts[number] = request.prompt
            self.texts[number] = []
            self.draws[number] = request.rng.random(max(1, request.max_new_tokens))

    def admit(self, requests: Sequence[Request], first: int) -> None:
        """Replaces the finished rows by new requests, and reads the other rows again."""
        self._add_requests(requests, first)
        unfinished = list(self.budgets)
        self.rows = Rows(
            self.rows.network,
            [self.prompts[i] for i in unfinished],
            self.rows.decoding,
            room=max(self.budgets.values(), default=1),
            whole=self.options.whole,
            completions=[self.texts[i] for i in unfinished],
        )
        self._set_requests(unfinished)

    @torch.no_grad()
    def advance(self) -> list[GeneratedToken]:
        """Adds a token to each row; returns those of the unfinished requests."""
        rows = self.rows
        logits = rows.logits()
        scores = rows.decoding.scores(logits, rows.history)
        draws = self.table[:, min(self.n_drawn, self.table.shape[1] - 1)]
        self.n_drawn += 1
        chosen = rows.decoding.choose(scores, draws)
        log_probs = scores.gather(1, chosen[:, None])[:, 0] - scores.logsumexp(dim=1)
        rows.append(chosen)
        new = zip(self.requests, chosen.tolist(), log_probs.tolist(), strict=True)
        return [self._add(*token) for token in new if token[0] in self.budgets]

    def _add(self, request: int, token: int, log_prob: float) -> GeneratedToken:
        stop = self.options.stop
        text = self.texts[request]
        text.append(token)
        ends = token in self.stops
        ends = ends or (stop is not None and stop.found_in(text))
        self.budgets[request] -= 1
        if ends or self.budgets[request] == 0:
            del self.budgets[request]
        return GeneratedToken(request, token, log_prob, ends)

    def drop_finished(self) -> None:
        """Removes the finished rows once they make up half of the batch.

        A rank whose rows are all finished keeps one row, at the same position, so that it can run
        along with the other ranks.
        """
        kept = [row for row, request in enumerate(self.requests) if request in self.budgets]
        if not kept:
            kept = [0]
            self.rows.cache.length -= 1
        if 2 * len(kept) > len(self.requests):
            return
        self.rows.select(torch.tensor(kept, device=self.rows.inputs.tokens.device))
        self._set_requests([self.requests[row] for row in kept])


def any_rank(network: Network, needed: bool) -> bool:
    """Whether this rank or, with a sharded network, any rank needs another forward pass."""
    if not isinstance(network, FSDPModule):
        return needed
    flag = torch.tensor(float(needed), device=next(network.parameters()).device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)
