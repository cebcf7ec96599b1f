"""Beam search: keeps the `beams` most likely prefixes, and returns the best completion.

Graves 2012, https://arxiv.org/abs/1211.3711; length penalty: Wu et al. 2016 (GNMT),
https://arxiv.org/abs/1609.08144, section 7, in the form |completion|^length_penalty. Token
for token as transformers' `generate(num_beams=...)`, which returns the best of the completions that
ended among the `beams` best candidates of a step, and applies the penalties of `decoding` to
log-probabilities without normalising them again. Nothing is drawn: of `decoding`, the penalties
and exclusions count, and a temperature changes no order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from etude import Capability, plugin, require
from etude.config import GeneratorConfig
from etude.data import Tokenizer
from etude.network import (
    GeneratedToken,
    GenerationOptions,
    Generator,
    Network,
    Request,
    Rows,
    StopStrings,
)

EARLY_STOPPING = (True, False, "never")


@dataclass
class BeamConfig(GeneratorConfig):
    beams: int = 4
    """Number of prefixes that are kept. Typical: 4-10; 1 = greedy search."""
    length_penalty: float = 1.0
    """Exponent of the length by which log p of a completion is divided; above 0 favours long ones,
    0 compares sums. Typical: 0.6-2."""
    early_stopping: Annotated[bool | str, ("true", "false", "never")] = False
    """When to stop: true = with `beams` completions; false = if no prefix would be better if it
    ended now; never = if none would be better even at its longest."""

    def __post_init__(self) -> None:
        require(self.beams >= 1, f"beams must be at least 1, got {self.beams}")
        require(
            self.early_stopping in EARLY_STOPPING,
            f"early_stopping must be true, false or never, got {self.early_stopping}",
        )

    @property
    def samples(self) -> bool:
        return False


class Beam(NamedTuple):
    """A prefix or completion: its tokens, the log p of each, and their sum by decoding's scores."""

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    total: float


@dataclass
class Search:
    """The search for the completion of one request."""

    config: BeamConfig
    request: Request
    running: list[Beam]
    """The prefixes, best first, as many as `beams`."""
    ended: list[tuple[float, bool, Beam]] = field(default_factory=list[tuple[float, bool, Beam]])
    """The best completions: score, whether a stop token ends it."""
    is_done: bool = False

    def step(
        self, scores: Float[Tensor, "beams vocab"], stops: Sequence[int], stop: StopStrings | None
    ) -> list[int]:
        """Extends the prefixes by one token; returns the row that each continues."""
        width = self.config.beams
        n = max(2, 1 + len(stops)) * width
        sums = scores + torch.tensor([[beam.total] for beam in self.running]).to(scores)
        best = sums.flatten().topk(min(n, sums.numel()))
        log_probs = scores.log_softmax(-1).flatten()[best.indices].tolist()
        found: list[tuple[bool, int, Beam]] = []
        for place, (total, index) in enumerate(zip(*map(Tensor.tolist, best), strict=True)):
            row, token = divmod(index, scores.shape[-1])
            ids = (*self.running[row].ids, token)
            beam = Beam(ids, (*self.running[row].log_probs, log_probs[place]), total)
            stopped = token in stops or (stop is not None and stop.found_in(ids))
            ends = stopped or len(ids) == self.request.max_new_tokens
            if ends and place < width:
                self._add(beam, stopped)
            found.append((ends, row, beam if not ends else beam._replace(total=-torch.inf)))
        self.is_done = all(ends for ends, _, _ in found)
        kept = sorted(found, key=lambda item: item[0])[:width]  # stable: the best stay first
        self.running = [beam for _, _, beam in kept]
        self.is_done = self.is_done or not self._can_improve()
        return [row for _, row, _ in kept]

    def _add(self, beam: Beam, stopped: bool) -> None:
        is_full = len(self.ended) == self.config.beams
        if not (is_full and self.config.early_stopping is True):
            score = beam.total / len(beam.ids) ** self.config.length_penalty
            self.ended.append((score, stopped, beam))
            self.ended.sort(key=lambda item: -item[0])
            del self.ended[self.config.beams :]

    def _can_improve(self) -> bool:
        """Whether a prefix may become better than the worst of the completions."""
        config = self.config
        if len(self.ended) < config.beams:
            return True
        longest = config.early_stopping == "never" and config.length_penalty > 0
        length = self.request.max_new_tokens if longest else len(self.running[0].ids)
        possible = self.running[0].total / length**config.length_penalty
        return config.early_stopping is not True and possible > self.ended[-1][0]

    def tokens(self, number: int) -> list[GeneratedToken]:
        """The tokens of the best completion."""
        _, stopped, beam = self.ended[0]
        last = len(beam.ids) - 1
        pairs = enumerate(zip(beam.ids, beam.log_probs, strict=True))
        return [GeneratedToken(number, i, p, stopped and at == last) for at, (i, p) in pairs]


@plugin(BeamConfig, needs={Capability.GENERATE})
class BeamSearch(Generator):
    """Searches for the completion with the highest log p / length^length_penalty."""

    def __init__(self, config: BeamConfig, tokenizer: Tokenizer) -> None:
        self.config = config

    def stream(
        self, network: Network, requests: Sequence[Request], options: GenerationOptions
    ) -> Iterator[list[GeneratedToken]]:
        numbers = [i for i, request in enumerate(requests) if request.max_new_tokens > 0]
        beams = self.config.beams
        size = max(1, options.batch_size(len(requests) * beams) // beams)
        for start in range(0, len(numbers), size):
            part = numbers[start : start + size]
            prompts = [requests[i].prompt for i in part]
            room = max(requests[i].max_new_tokens for i in part)
            rows = Rows(network, prompts, options.decoding, room=room, whole=options.whole)
            yield from self._search(rows, {i: requests[i] for i in part}, options.stop)

    @torch.no_grad()
    def _search(
        self, rows: Rows, requests: dict[int, Request], stop: StopStrings | None
    ) -> Iterator[list[GeneratedToken]]:
        """Yields the tokens of each request when its search ends."""
        width = self.config.beams
        first = [Beam((), (), 0.0)] + [Beam((), (), -torch.inf)] * (width - 1)
        searches = {i: Search(self.config, request, first) for i, request in requests.items()}
        logits = rows.logits()
        copies = torch.arange(len(requests), device=logits.device).repeat_interleave(width)
        rows.select(copies)
        logits = logits[copies]
        while True:
            scores = rows.decoding.scores(logits.log_softmax(-1), rows.history)
            scores = scores.unflatten(0, (-1, width))
            kept: list[int] = []
            for place, (number, search) in enumerate([*searches.items()]):
                chosen = search.step(scores[place], rows.network.vocab.stops, stop)
                kept += [place * width + row for row in chosen if not search.is_done]
                if search.is_done:
                    yield searches.pop(number).tokens(number)
            if not searches:
                return
            rows.select(torch.tensor(kept, device=logits.device))
            tokens = [beam.ids[-1] for search in searches.values() for beam in search.running]
            rows.append(torch.tensor(tokens, device=logits.device))
            logits = rows.logits()
