"""Turns records and token rows into the tensors for `loss`: one batch type per kind of data."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from etude.data.chat_template import exchange, question
from etude.data.token_rows import TokenRow
from etude.data.tokenizer import Tokenizer
from etude.data.vocab import Vocab
from etude.network.inputs import Inputs, Targets, pad_right
from etude.network.network import Network
from etude.records import Preference

Ids = Sequence[int]


@dataclass
class TextBatch:
    """Tokens to predict, and the number of bytes of text they encode."""

    targets: Targets
    n_bytes: Float[Tensor, ""]


@dataclass
class PreferenceBatch:
    """Two completions per prompt, row by row."""

    chosen: Targets
    rejected: Targets
    told: Float[Tensor, "side pair"] | None = None
    """Precomputed reference log-probabilities of both sides, in nats; None = not precomputed."""


@dataclass(frozen=True)
class PreferenceExample:
    """A preference pair as token ids."""

    prompt: Ids
    chosen: Ids
    rejected: Ids


def next_token_batch(rows: Sequence[TokenRow], pad: int, *, intra_document: bool) -> TextBatch:
    """Predicts each token from those before it; the first of a document is never a target.

    With `intra_document`, attention and positions stay within the documents of a packed row.
    """
    stacked = pad_right([row.tokens.tolist() for row in rows], pad)
    documents = pad_right([row.documents.tolist() for row in rows], 0).tokens
    where = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] > 0)
    seen = documents if intra_document else stacked.documents
    if seen is not None:  # the last token of a row has nothing to predict
        seen = seen[:, :-1].masked_fill(documents[:, 1:] == 0, 0)
    inputs = Inputs(stacked.tokens[:, :-1], seen)
    n_bytes = torch.tensor(sum(row.n_bytes for row in rows), dtype=torch.float64)
    return TextBatch(Targets(inputs, stacked.tokens[:, 1:], where), n_bytes)


def texts(row: TokenRow, vocab: Vocab) -> Iterator[tuple[Int[np.ndarray, " seq"], bool]]:
    """Yields each document of a row without special tokens, and whether it ends here."""
    for document in np.unique(row.documents):
        tokens = row.tokens[row.documents == document]
        yield tokens[~np.isin(tokens, list(vocab.special))], tokens[-1] == vocab.eos


def completion_ids(
    tokenizer: Tokenizer, prompt: str, completion: str, seq_len: int
) -> tuple[Ids, Ids]:
    """Returns a prompt and its completion, together at most `seq_len` + 1 ids.

    A completion that is too long is truncated before its stop, then the prompt at its start.
    """
    before, after = exchange(tokenizer, prompt, completion)
    after = [*after[:-1][: seq_len - 1], after[-1]]
    return _end_of(before, seq_len + 1 - len(after)), after


def prompt_ids(tokenizer: Tokenizer, prompt: str, room: int) -> Ids:
    """Returns a prompt without its completion, at most `room` ids: its first id and its end."""
    return _end_of(question(tokenizer, prompt), room)


def _end_of(ids: Ids, room: int) -> Ids:
    return [ids[0], *ids[1:][max(0, len(ids) - room) :]]


def preference_example(tokenizer: Tokenizer, record: Preference, seq_len: int) -> PreferenceExample:
    """Encodes both completions with the same prompt, cut to what the longer one leaves free."""
    chosen, rejected = (
        completion_ids(tokenizer, record.prompt, completion, seq_len)
        for completion in (record.chosen, record.rejected)
    )
    prompt = min(chosen[0], rejected[0], key=len)
    return PreferenceExample(prompt, chosen[1], rejected[1])


def preference_batch(examples: Sequence[PreferenceExample], network: Network) -> PreferenceBatch:
    """Lays out both sides in the network's format."""
    return PreferenceBatch(
        network.answer([(e.prompt, e.chosen) for e in examples]),
        network.answer([(e.prompt, e.rejected) for e in examples]),
    )


def n_tokens(batch: Any) -> int:  # any dataclass of tensors
    """Returns the number of tokens, without padding, in all `Inputs` of a batch."""
    if isinstance(batch, Inputs):
        return batch.n_tokens
    if isinstance(batch, Targets):
        return batch.inputs.n_tokens
    held: Iterable[Any] = (getattr(batch, item.name) for item in fields(batch))
    return sum(n_tokens(part) for part in held if isinstance(part, Inputs | Targets))
