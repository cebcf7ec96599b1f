"""The model that is evaluated: log-probabilities and completions, the same for any batch size.

Kernels round differently for each shape of a batch. So a model is evaluated in float64, and each
log-probability is rounded to GRID; one that is so close to the middle of two multiples of GRID
that the batch might decide, within GUARD, is computed again from its row alone. Logits that a
token is chosen from are rounded likewise, so that equal ones tie in every batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude.capability import Capability
from etude.config.capabilities import capabilities_of, max_positions_of
from etude.config.schema.evaluation import Precision
from etude.data.chat_template import exchange, question
from etude.errors import DataError
from etude.evaluation.item import rounded
from etude.formats.model import Model
from etude.network.autoregressive import Autoregressive
from etude.network.decoding import Decoding, History
from etude.network.generation import GenerationOptions, Request, StopStrings
from etude.network.network import Network
from etude.objective.batches import Ids
from etude.objective.loader import chunks
from etude.objective.log_probs import token_log_prob
from etude.records import Chat

GRID = 1e-6
"""Log-probabilities, in nats, and logits are multiples of this."""
GUARD = 1e-10
"""Bound of the rounding errors of float64: what two batches may differ by."""
DTYPES = {Precision.float64: torch.float64, Precision.float32: torch.float32}


@dataclass(frozen=True)
class Continuation:
    """A text to score after a prompt, as token ids."""

    prompt: Ids
    completion: Ids


@dataclass(frozen=True)
class Output:
    """What the model writes after a prompt."""

    text: str
    """The text before a stop string, without special tokens and white space around it."""
    log_prob: float
    """Mean log p per token, in nats, under the distribution that it was sampled from."""


class Subject:
    """A model in eval mode, in the precision of the evaluation."""

    def __init__(self, model: Model, network: Network, batch_size: int) -> None:
        """Takes a network in eval mode, on its device and in its precision."""
        self.model = model
        self.network = network
        self.batch_size = batch_size

    @classmethod
    def open(cls, model: Model, batch_size: int, precision: Precision) -> "Subject":
        """Loads the weights of a model."""
        network = model.network().requires_grad_(False).eval().to(DTYPES[precision])
        return cls(model, network, batch_size)

    def question(self, prompt: str | Chat) -> list[int]:
        """Returns the ids of a prompt, in the format of the model's training."""
        tokenizer = self.model.tokenizer
        if isinstance(prompt, str) and tokenizer.template is None and self.reads_source:
            return tokenizer.vocab.source(tokenizer.encode(prompt).tolist())
        return question(tokenizer, prompt)

    def answer(self, prompt: str | Chat, text: str, delimiter: str) -> Continuation:
        """Returns a text after a prompt: a turn of a conversation, or text after the delimiter.

        Text is encoded together with the prompt, as it would be in a document, and cut after as
        many tokens as the prompt has alone, as in lm-evaluation-harness.
        """
        tokenizer = self.model.tokenizer
        if tokenizer.template is not None or isinstance(prompt, Chat):
            return Continuation(*exchange(tokenizer, prompt, text))
        if self.reads_source:
            return Continuation(self.question(prompt), tokenizer.encode(text).tolist())
        before, whole = tokenizer.encode_batch([prompt, f"{prompt}{delimiter}{text}"])
        n = min(len(before), len(whole) - 1)
        vocab = tokenizer.vocab
        return Continuation(vocab.prompt(whole[:n].tolist()), whole[n:].tolist())

    @property
    def reads_source(self) -> bool:
        """Whether it is an encoder-decoder, with a row for each of prompt and completion."""
        return Capability.SOURCE_TARGET in capabilities_of(self.model.architecture)

    @torch.no_grad()
    def log_probs(self, texts: Sequence[Continuation]) -> list[list[float]]:
        """Returns log p of each token of each completion, in nats; order and batches do not matter.

        Rows of similar length are computed together.
        """
        found: dict[int, list[float]] = {}
        lengths = [self._length(len(one.prompt), len(one.completion) - 1) for one in texts]
        self._require_fit(lengths)
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        for part in chunks(order, self.batch_size):
            for i, row in zip(part, self._rows([texts[i] for i in part]), strict=True):
                if len(part) > 1 and _is_between(row):
                    (row,) = self._rows([texts[i]])
                found[i] = on_grid(row).tolist()
        return [found[i] for i in range(len(texts))]

    def complete(
        self,
        requests: Sequence[Request],
        decoding: Decoding,
        stop: Sequence[str] = (),
    ) -> list[Output]:
        """Returns the completion of each request; order and batches do not matter."""
        self._require_fit([self._length(len(r.prompt), r.max_new_tokens - 1) for r in requests])
        decode = self.model.tokenizer.decode
        stops = StopStrings(stop, lambda ids: decode(list(ids)))
        options = GenerationOptions(
            _OnGrid(decoding), self.model.whole_prompt, stops, self.batch_size
        )
        written = Autoregressive().generate(self.network, requests, options)
        return [
            Output(stops.before(decode(one.ids)).strip(), rounded(fmean(one.log_probs)))
            for one in written
        ]

    def _length(self, n_prompt: int, n_completion: int) -> int:
        if self.reads_source:
            return max(n_prompt, n_completion + 1)
        return n_prompt + n_completion

    def _require_fit(self, lengths: Sequence[int]) -> None:
        """Raises DataError if a row is longer than the positions of the model."""
        limit = max_positions_of(self.model.architecture)
        n_long = 0 if limit is None else sum(length > limit for length in lengths)
        if n_long:
            raise DataError(
                f"{n_long:,} of {len(lengths):,} texts are longer than the {limit} positions of "
                f"{self.model.folder}: up to {max(lengths):,} tokens.\n"
                "  Leave these records out, or lower max_new_tokens or the number of examples."
            )

    def _rows(self, texts: Sequence[Continuation]) -> list[Float[Tensor, " tokens"]]:
        pairs = [(one.prompt, one.completion) for one in texts]
        targets = self.network.answer(pairs, whole=self.model.whole_prompt)
        return list(
            token_log_prob(self.network, targets).split([len(one.completion) for one in texts])
        )


def on_grid(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Rounds to multiples of GRID."""
    return (values / GRID).round() * GRID


def _is_between(row: Float[Tensor, " tokens"]) -> bool:
    """Whether a value is within GUARD of the middle between two multiples of GRID."""
    scaled = row / GRID
    return bool(((scaled - scaled.floor() - 0.5).abs() < GUARD / GRID).any())


class _OnGrid(Decoding):
    """A decoding whose logits are rounded to GRID."""

    def __init__(self, decoding: Decoding) -> None:
        self.decoding = decoding

    def begin(self) -> Any:
        return self.decoding.begin()

    def advance(self, state: Any, token: int) -> Any:
        return self.decoding.advance(state, token)

    def scores(
        self, logits: Float[Tensor, "batch vocab"], history: History
    ) -> Float[Tensor, "batch vocab"]:
        return self.decoding.scores(on_grid(logits), history)

    def choose(
        self, scores: Float[Tensor, "batch vocab"], draw: Float[Tensor, " batch"]
    ) -> Int[Tensor, " batch"]:
        return self.decoding.choose(scores, draw)

    def probabilities(self, scores: Float[Tensor, "batch vocab"]) -> Float[Tensor, "batch vocab"]:
        return self.decoding.probabilities(scores)
