"""Speculative decoding: a small draft model proposes tokens, one pass of the model checks them.

Leviathan et al. 2023, https://arxiv.org/abs/2211.17192, algorithm 1: a drafted token x is kept with
probability min(1, p(x) / q(x)); the first one that is not is drawn again from max(0, p - q),
normalised. The completions then follow exactly the distribution p of the model with `decoding`,
and with greedy decoding they are the same tokens. p and q are those of `decoding`, after its
penalties, temperature and exclusions. Requests are completed one by one. Mixers with a recurrent
state, which cannot go back, read the kept tokens again in the next pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import MISSING
from torch import Tensor

from etude import Capability, ConfigError, plugin, require
from etude.config import GeneratorConfig, capabilities_of
from etude.data import Tokenizer
from etude.formats import read_model
from etude.network import (
    GeneratedToken,
    GenerationOptions,
    Generator,
    History,
    Inputs,
    Network,
    Request,
    Rows,
    sample_token,
)


@dataclass
class SpeculativeConfig(GeneratorConfig):
    draft: str = MISSING
    """The draft model: a run folder or a Hugging Face folder, with the tokenizer of the model."""
    draft_tokens: int = 4
    """Tokens that are drafted for each pass of the model. Typical: 3-8."""

    def __post_init__(self) -> None:
        require(self.draft_tokens >= 1, f"draft_tokens must be at least 1, got {self.draft_tokens}")


def next_token(
    target: Tensor, draft: Tensor, drafted: int, accept: float, redraw: float
) -> tuple[int, bool]:
    """Returns the drafted token or another, and whether it was kept.

    `target` and `draft` are probabilities, `accept` and `redraw` uniform numbers in [0, 1).
    """
    if accept * float(draft[drafted]) < float(target[drafted]):
        return drafted, True
    rest = (target - draft).clamp(min=0)
    return int(sample_token(rest.log()[None], torch.tensor([redraw], dtype=torch.float64))), False


@plugin(SpeculativeConfig, needs={Capability.GENERATE}, example={"draft": "{run}"})
class Speculative(Generator):
    """Needs fewer passes of the model than tokens, the fewer the better the draft predicts it."""

    def __init__(self, config: SpeculativeConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        model = read_model(config.draft)
        if Capability.GENERATE not in capabilities_of(model.architecture):
            raise ConfigError(f"generator.draft={config.draft}: this model cannot generate text.")
        if model.tokenizer.digest != tokenizer.digest:
            raise ConfigError(
                f"generator.draft={config.draft} has another tokenizer than the model, so that its "
                "ids mean other tokens.\n  Train the draft with init_from or the same data and "
                "tokenizer.* as the model."
            )
        self.draft = model.network().requires_grad_(False).eval()
        self.n_passes = self.n_tokens = self.n_drafted = self.n_kept = 0

    def summary(self) -> str | None:
        passes = self.n_passes / max(1, self.n_tokens)
        return (
            f"speculative: {self.n_passes:,} passes of the model for {self.n_tokens:,} tokens "
            f"({passes:.2f} per token); {self.n_kept:,} of {self.n_drafted:,} drafted tokens kept"
        )

    def stream(
        self, network: Network, requests: Sequence[Request], options: GenerationOptions
    ) -> Iterator[list[GeneratedToken]]:
        decoding, stop = options.decoding, options.stop
        self.draft.to(next(network.parameters()).device)
        for number, request in enumerate(requests):
            room = request.max_new_tokens + self.config.draft_tokens + 1
            target, draft = (
                Rows(model, [request.prompt], decoding, room=room, whole=options.whole)
                for model in (network, self.draft)
            )
            draws = request.rng.random((max(1, request.max_new_tokens), 3))
            text: list[int] = []
            ends = False
            while not ends and len(text) < request.max_new_tokens:
                tokens: list[GeneratedToken] = []
                for token, log_prob in self._block(target, draft, draws[len(text) :]):
                    text.append(token)
                    ends = token in network.vocab.stops
                    ends = ends or (stop is not None and stop.found_in(text))
                    tokens.append(GeneratedToken(number, token, log_prob, ends))
                    if ends:
                        break
                self.n_tokens += len(tokens)
                yield tokens

    @torch.no_grad()
    def _block(self, target: Rows, draft: Rows, draws: np.ndarray) -> list[tuple[int, float]]:
        """Returns the next tokens with their log-probabilities: one, and the drafts that are kept.

        `draws` has three uniform numbers for each token that is left.
        """
        n = min(self.config.draft_tokens, len(draws) - 1)
        before = [_Mark(rows) for rows in (target, draft)]
        history, decoding = target.history, target.decoding
        guesses: list[Tensor] = []
        for draw in draws[:n, 0]:
            scores = decoding.scores(draft.logits(), draft.history)
            guesses.append(decoding.probabilities(scores)[0])
            draft.append(decoding.choose(scores, torch.tensor([draw]).to(scores.device)))
        drafted = draft.history.tokens[0, history.tokens.shape[1] :]
        logits = _extended(target, drafted).logits(n + 1)
        written: list[tuple[int, float]] = []
        kept = True
        for i in range(n + 1):
            scores = decoding.scores(logits[i : i + 1], history)
            p = decoding.probabilities(scores)[0]
            if i < n:
                token, kept = next_token(p, guesses[i], int(drafted[i]), *draws[i, 1:])
            else:
                token = int(decoding.choose(scores, torch.tensor(draws[i, :1]).to(scores.device)))
            written.append((token, float(scores.log_softmax(-1)[0, token])))
            history = history.extend(torch.tensor([token], device=scores.device), decoding)
            if not kept:
                break
        self.n_passes, self.n_drafted = self.n_passes + 1, self.n_drafted + n
        self.n_kept += len(written) - 1
        for mark, n_read in zip(before, (n, max(0, n - 1)), strict=True):
            mark.go_on(history, n_read)
        return written


def _extended(rows: Rows, tokens: Tensor) -> Rows:
    """Appends tokens to those that the network reads next."""
    inputs = rows.inputs
    prefix = None if inputs.prefix is None else F.pad(inputs.prefix, (0, len(tokens)))
    joined = torch.cat((inputs.tokens, tokens[None]), dim=1)
    rows.inputs = replace(inputs, tokens=joined, prefix=prefix)
    return rows


class _Mark:
    """Where a network was before a block of drafted tokens."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.length, self.states = rows.cache.length, dict(rows.cache.states)
        self.n_unread = rows.inputs.tokens.shape[1]
        self.n_tokens = rows.history.tokens.shape[1]

    def go_on(self, history: History, n_drafted: int) -> None:
        """Continues after `history`: the cache forgets the drafted tokens that are not in it."""
        cache = self.rows.cache
        before = n_read = self.n_tokens - self.n_unread
        if cache.length > self.length:
            n_read = self.n_tokens + n_drafted
        excess = n_read - (history.tokens.shape[1] - 1)  # the last token has to be read
        if excess > 0 and cache.states:
            cache.length, cache.states = self.length, self.states
            n_read = before
        elif excess > 0:
            cache.length -= excess  # in which virtual tokens count, too
            n_read -= excess
        self.rows.history = history
        self.rows.inputs = Inputs(history.tokens[:, n_read:])
