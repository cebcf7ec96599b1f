"""Masked diffusion: starts from masks and reveals them in any order, over several steps.

Sahoo et al. 2024 (MDLM), https://arxiv.org/abs/2406.07524, section 3.3: under the log-linear
schedule every mask is revealed at a uniformly random step, drawn from the network's distribution at
that step, and then stays; a step that reveals nothing runs no pass. `order=confidence` reveals
equally many tokens in each step, the most likely ones first (Chang et al. 2022, MaskGIT,
https://arxiv.org/abs/2202.04200). It works with every network that fills masks, trained by
objective=mdlm, which is a bound on the likelihood, or by objective=mlm.

A prompt with [MASK] is infilled: the completion consists of the tokens of its masks, in order.
Another prompt is continued by `max_new_tokens` masks, and cut after the first stop token. The
`decoding` is given the tokens to the left of each mask as its history.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from etude import Capability, ConfigError, plugin, require
from etude.config import DecodingConfig, GeneratorConfig
from etude.data import Tokenizer
from etude.network import (
    NO_TOKEN,
    Decoding,
    GeneratedToken,
    GenerationOptions,
    Generator,
    History,
    Inputs,
    Network,
    Request,
    StopStrings,
    pad_right,
    to_fp32,
)


class Order(Enum):
    """The order in which masks are revealed."""

    random = "random"
    confidence = "confidence"


@dataclass
class DiffusionConfig(GeneratorConfig):
    steps: int = 64
    """Denoising steps; more steps reveal fewer tokens at a time, which improves the text. Typical:
    16 to the number of masks."""
    order: Order = Order.random
    """random = as in training, so that texts are samples; confidence = most likely tokens first."""

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps must be at least 1, got {self.steps}")

    @property
    def samples(self) -> bool:
        return False

    def check(self, decoding: DecodingConfig) -> None:
        require(not decoding.left_to_right, "it needs tokens from left to right, not in any order")


@dataclass
class Canvas:
    """The text of one request, with masks that are revealed step by step."""

    request: Request
    tokens: Int[np.ndarray, " seq"]
    places: Int[np.ndarray, " masks"]
    """The positions of the masks at the start."""
    is_infilling: bool
    steps: Int[np.ndarray, " masks"]
    """The step of each mask; with order=confidence, only how many masks each step reveals."""
    draws: np.ndarray
    log_probs: dict[int, float]
    """log p of each revealed token, in nats, by position."""


@plugin(DiffusionConfig, needs={Capability.BOTH_SIDES}, example={"objective": "mlm"})
class Diffusion(Generator):
    """Fills masks in parallel: the number of passes does not depend on the length of the text."""

    def __init__(self, config: DiffusionConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        vocab = tokenizer.vocab
        if vocab.known(vocab.mask) is None:
            raise ConfigError("generator=diffusion needs a tokenizer with a mask token.")
        self.vocab = vocab

    def stream(
        self, network: Network, requests: Sequence[Request], options: GenerationOptions
    ) -> Iterator[list[GeneratedToken]]:
        size = options.batch_size(len(requests))
        for start in range(0, len(requests), size):
            canvases = [self._canvas(request) for request in requests[start : start + size]]
            for step in range(self.config.steps):
                if any((canvas.steps == step).any() for canvas in canvases):
                    self._reveal(network, canvases, options.decoding, step)
            for number, canvas in enumerate(canvases, start):
                yield self._completion(number, canvas, options.stop)

    def _canvas(self, request: Request) -> Canvas:
        mask = self.vocab.mask
        is_infilling = mask in request.prompt
        masks = [] if is_infilling else [mask] * request.max_new_tokens
        tokens = np.array([*request.prompt, *masks])
        places = np.flatnonzero(tokens == mask)
        steps = request.rng.integers(self.config.steps, size=len(places))
        if self.config.order is Order.confidence:
            steps = np.arange(len(places)) * self.config.steps // max(1, len(places))
        return Canvas(
            request, tokens, places, is_infilling, steps, request.rng.random(len(places)), {}
        )

    @torch.no_grad()
    def _reveal(
        self, network: Network, canvases: Sequence[Canvas], decoding: Decoding, step: int
    ) -> None:
        """Draws the tokens that this step reveals, each independently of the others."""
        inputs = pad_right([canvas.tokens.tolist() for canvas in canvases], self.vocab.pad)
        where = torch.zeros_like(inputs.tokens, dtype=torch.bool)
        for row, canvas in enumerate(canvases):
            where[row, self._candidates(canvas, step)] = True
        draws = torch.zeros(where.shape, dtype=torch.float64)
        for row, canvas in enumerate(canvases):
            draws[row, canvas.places] = torch.from_numpy(canvas.draws)
        device = next(network.parameters()).device
        inputs, where = inputs.to(device), where.to(device)
        logits = to_fp32(network(inputs, where))
        logits[:, self.vocab.mask] = -torch.inf
        scores = decoding.scores(logits, self._history(inputs, where, decoding))
        chosen = decoding.choose(scores, draws.to(device)[where])
        log_probs = scores.log_softmax(-1).gather(1, chosen[:, None])[:, 0].tolist()
        found = zip(where.nonzero().tolist(), chosen.tolist(), log_probs, strict=True)
        by_row: dict[int, list[tuple[float, int, int]]] = {}
        for (row, place), token, log_prob in found:
            by_row.setdefault(row, []).append((log_prob, place, token))
        for row, tokens in by_row.items():
            self._write(canvases[row], tokens, step)

    def _candidates(self, canvas: Canvas, step: int) -> Int[np.ndarray, " n"]:
        """The masks whose tokens are drawn in this step, of which all or the best are revealed."""
        is_due = canvas.steps == step
        if self.config.order is Order.random or not is_due.any():
            return canvas.places[is_due]
        return canvas.places[canvas.tokens[canvas.places] == self.vocab.mask]

    def _write(self, canvas: Canvas, found: list[tuple[float, int, int]], step: int) -> None:
        best = sorted(found, key=lambda item: -item[0])[: int((canvas.steps == step).sum())]
        for log_prob, place, token in best:
            canvas.tokens[place] = token
            canvas.log_probs[place] = log_prob

    def _history(
        self, inputs: Inputs, where: Bool[Tensor, "batch seq"], decoding: Decoding
    ) -> History:
        """The tokens to the left of each position in `where`, aligned on the right."""
        rows, places = where.nonzero().unbind(1)
        width = int(places.max()) if len(places) else 0
        index = places[:, None] - width + torch.arange(width, device=places.device)[None]
        tokens = inputs.tokens[rows[:, None], index.clamp(min=0)]
        is_none = (index < 0) | (tokens == self.vocab.mask)
        states = [decoding.begin() for _ in range(len(rows))]
        return History(tokens.masked_fill(is_none, NO_TOKEN), states)

    def _completion(
        self, number: int, canvas: Canvas, stop: StopStrings | None
    ) -> list[GeneratedToken]:
        written: list[GeneratedToken] = []
        text: list[int] = []
        for place in canvas.places.tolist():
            text.append(token := int(canvas.tokens[place]))
            ends = token in self.vocab.stops or (stop is not None and stop.found_in(text))
            ends = ends and not canvas.is_infilling
            written.append(GeneratedToken(number, token, canvas.log_probs[place], ends))
            if ends:
                break
        return written
