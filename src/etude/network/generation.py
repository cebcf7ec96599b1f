"""The group `generator`: completes prompts, for rollouts, samples, evaluation and `etude generate`.

The contract is narrow: a generator returns one `Generation` per `Request`, in order. The result of
a request depends only on its own prompt, random generator and limit, not on other requests. Float
sums depend on the shape of a batch, so rounding may still flip a near tie.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude.network.decoding import NO_TOKEN, Decoding, History
from etude.network.inputs import Inputs, pad_left
from etude.network.kv_cache import KvCache
from etude.network.network import Network
from etude.network.precision import to_fp32


@dataclass(frozen=True)
class Request:
    """A prompt to complete."""

    prompt: Sequence[int]
    rng: np.random.Generator
    """Source of randomness: nothing else decides what is sampled."""
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


@dataclass(frozen=True)
class GenerationOptions:
    """How requests are completed, whichever generator does it."""

    decoding: Decoding
    whole: bool = False
    """Whether the tokens of a prompt see one another."""
    stop: StopStrings | None = None
    """Strings that end a completion, besides stop tokens; None = none."""
    generation_batch: int | None = None
    """Number of requests per batch; None = all."""

    def batch_size(self, n_requests: int) -> int:
        """Returns the number of requests per batch, at least 1."""
        return self.generation_batch or max(1, n_requests)


class GeneratedToken(NamedTuple):
    """The next token of a request; `request` is the index in the list."""

    request: int
    id: int
    log_prob: float
    ends: bool
    """Whether it is a stop token or completes a stop string."""


class Generator(ABC):
    """The group `generator`: completes requests. A plugin is built from config and tokenizer."""

    @abstractmethod
    def stream(
        self, network: Network, requests: Sequence[Request], options: GenerationOptions
    ) -> Iterator[list[GeneratedToken]]:
        """Yields new tokens as soon as they are final; those of a request come in order.

        A request ends with a stop token of the network's vocabulary, with a stop string, or at its
        limit. The network should be in eval mode.
        """

    def generate(
        self, network: Network, requests: Sequence[Request], options: GenerationOptions
    ) -> list[Generation]:
        """Returns the completion of each request, on the CPU; see `stream`."""
        written = [Generation() for _ in requests]
        steps = self.stream(network, requests, options)
        for token in (token for tokens in steps for token in tokens):
            row = written[token.request]
            row.ids.append(token.id)
            row.log_probs.append(token.log_prob)
            row.ended = token.ends
        return written

    def summary(self) -> str | None:
        """Returns what it measured so far, for the user; None by default."""
        return None


class Rows:
    """A batch of texts that a network continues, one row each: cache, history and new tokens."""

    def __init__(
        self,
        network: Network,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        *,
        room: int,
        whole: bool = False,
        completions: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Takes prompts, with the beginnings of their completions, if there are any.

        `room` is the largest number of tokens that will be added to a row.
        """
        self.network = network
        self.decoding = decoding
        inputs = network.prompt(prompts, whole=whole)
        texts = completions or [() for _ in prompts]
        if completions is not None:
            inputs = _continued(inputs, completions, network.vocab.pad)
        self.inputs = inputs.to(next(network.parameters()).device)
        """The tokens that the network has not read yet."""
        self.cache = KvCache(inputs.tokens.shape[1] + room)
        tokens, documents = self.inputs.tokens, self.inputs.documents
        if documents is not None:
            tokens = tokens.masked_fill(documents == 0, NO_TOKEN)
        self.history = History(
            tokens, [reduce(decoding.advance, t, decoding.begin()) for t in texts]
        )

    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")  # otherwise recompiled for each length
    def logits(self, n_last: int = 1) -> Float[Tensor, "n vocab"]:
        """Reads the new tokens; returns the logits, at least fp32, after the last ones of a row."""
        where = None
        if self.inputs.tokens.shape[1] > n_last:
            where = torch.zeros_like(self.inputs.tokens, dtype=torch.bool)
            where[:, -n_last:] = True
        return to_fp32(self.network(self.inputs, where, self.cache)).flatten(0, -2)

    def append(self, tokens: Int[Tensor, " batch"]) -> None:
        """Adds one token to each row, to be read next."""
        self.history = self.history.extend(tokens, self.decoding)
        self.inputs = Inputs(tokens[:, None])

    def select(self, rows: Int[Tensor, " kept"]) -> None:
        """Keeps these rows, in this order; a row may occur several times."""
        self.history = self.history.select(rows)
        self.inputs = Inputs(self.inputs.tokens[rows])
        self.cache.select_rows(rows)


def _continued(inputs: Inputs, completions: Sequence[Sequence[int]], pad: int) -> Inputs:
    """Returns the inputs of prompts with the tokens that follow each, padded on the left."""
    real = torch.ones_like(inputs.tokens) if inputs.documents is None else inputs.documents

    def join(part: Tensor, tails: Sequence[Sequence[int]], fill: int) -> Inputs:
        rows = zip(part, real > 0, tails, strict=True)
        return pad_left([[*row[where].tolist(), *tail] for row, where, tail in rows], fill)

    joined = join(inputs.tokens, completions, pad)
    prefix = inputs.prefix
    if prefix is not None:
        prefix = join(prefix.long(), [[0] * len(c) for c in completions], 0).tokens.bool()
    return replace(joined, source=inputs.source, prefix=prefix)
