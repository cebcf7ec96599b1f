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
    reference: Float[Tensor, "side pair"] | None = None
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
    padded = pad_right([row.tokens.tolist() for row in rows], pad)
    documents = pad_right([row.documents.tolist() for row in rows], 0).tokens
    where = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] > 0)
    visible = documents if intra_document else padded.documents
    if visible is not None:  # the last token of a row has nothing to predict
        visible = visible[:, :-1].masked_fill(documents[:, 1:] == 0, 0)
    inputs = Inputs(padded.tokens[:, :-1], visible)
    n_bytes = torch.tensor(sum(row.n_bytes for row in rows), dtype=torch.float64)
    return TextBatch(Targets(inputs, padded.tokens[:, 1:], where), n_bytes)


def document_tokens(row: TokenRow, vocab: Vocab) -> Iterator[tuple[Int[np.ndarray, " seq"], bool]]:
    """Yields each document of a row, without special tokens, and whether it ends in this row."""
    for document in np.unique(row.documents):
        tokens = row.tokens[row.documents == document]
        yield tokens[~np.isin(tokens, list(vocab.special))], tokens[-1] == vocab.eos


def completion_ids(
    tokenizer: Tokenizer, prompt: str, completion: str, seq_len: int
) -> tuple[Ids, Ids]:
    """Returns the ids of a prompt and its completion, together at most `seq_len` + 1.

    A completion that is too long is truncated before its stop token; then the prompt is
    truncated at the start.
    """
    before, after = exchange(tokenizer, prompt, completion)
    after = [*after[:-1][: seq_len - 1], after[-1]]
    return _truncate_left(before, seq_len + 1 - len(after)), after


def prompt_ids(tokenizer: Tokenizer, prompt: str, max_length: int) -> Ids:
    """Returns a prompt without completion, at most `max_length` ids: the first and the last."""
    return _truncate_left(question(tokenizer, prompt), max_length)


def _truncate_left(ids: Ids, max_length: int) -> Ids:
    return [ids[0], *ids[1:][max(0, len(ids) - max_length) :]]


def preference_example(tokenizer: Tokenizer, record: Preference, seq_len: int) -> PreferenceExample:
    """Encodes both completions with the same prompt, truncated to fit the longer one."""
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
    """Returns the number of non-padding tokens in all `Inputs` of a batch."""
    if isinstance(batch, Inputs):
        return batch.n_tokens
    if isinstance(batch, Targets):
        return batch.inputs.n_tokens
    values: Iterable[Any] = (getattr(batch, item.name) for item in fields(batch))
    return sum(n_tokens(part) for part in values if isinstance(part, Inputs | Targets))
