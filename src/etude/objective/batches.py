"""From records and token rows to tensors: what `loss` sees, one kind of batch a kind of data."""

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
    """Tokens to predict, and the bytes of text they stand for."""

    targets: Targets
    n_bytes: Float[Tensor, ""]


@dataclass
class PreferenceBatch:
    """Two completions a prompt, row by row."""

    chosen: Targets
    rejected: Targets
    told: Float[Tensor, "side pair"] | None = None
    """What the reference says of both sides, where that was worked out before."""


@dataclass(frozen=True)
class PreferenceExample:
    """A preference as ids."""

    prompt: Ids
    chosen: Ids
    rejected: Ids


def next_token_batch(rows: Sequence[TokenRow], pad: int, *, intra_document: bool) -> TextBatch:
    """Predicts each token from those before it; the first of a document is never asked for.

    With `intra_document`, attention and positions know the documents of a packed row.
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
    """Yields the text of each document of a row, special tokens aside, and whether it ends here."""
    for document in np.unique(row.documents):
        tokens = row.tokens[row.documents == document]
        yield tokens[~np.isin(tokens, list(vocab.special))], tokens[-1] == vocab.eos


def completion_ids(
    tokenizer: Tokenizer, prompt: str, completion: str, seq_len: int
) -> tuple[Ids, Ids]:
    """Returns a prompt and its completion, together at most `seq_len` + 1 ids.

    What stands before the stop of a completion too long is cut, then the start of the prompt.
    """
    before, after = exchange(tokenizer, prompt, completion)
    after = [*after[:-1][: seq_len - 1], after[-1]]
    return _end_of(before, seq_len + 1 - len(after)), after


def prompt_ids(tokenizer: Tokenizer, prompt: str, room: int) -> Ids:
    """Returns a prompt without its completion, at most `room` ids: its first, and its end."""
    return _end_of(question(tokenizer, prompt), room)


def _end_of(ids: Ids, room: int) -> Ids:
    return [ids[0], *ids[1:][max(0, len(ids) - room) :]]


def preference_example(tokenizer: Tokenizer, record: Preference, seq_len: int) -> PreferenceExample:
    """Encodes both completions after the same prompt, as long as the longer one leaves room for."""
    chosen, rejected = (
        completion_ids(tokenizer, record.prompt, completion, seq_len)
        for completion in (record.chosen, record.rejected)
    )
    prompt = min(chosen[0], rejected[0], key=len)
    return PreferenceExample(prompt, chosen[1], rejected[1])


def preference_batch(examples: Sequence[PreferenceExample], network: Network) -> PreferenceBatch:
    """Lays out both sides as the network wants them."""
    return PreferenceBatch(
        network.answer([(e.prompt, e.chosen) for e in examples]),
        network.answer([(e.prompt, e.rejected) for e in examples]),
    )


def n_tokens(batch: Any) -> int:  # any dataclass of tensors
    """Tokens, padding excluded, in every `Inputs` a batch holds."""
    if isinstance(batch, Inputs):
        return batch.n_tokens
    if isinstance(batch, Targets):
        return batch.inputs.n_tokens
    held: Iterable[Any] = (getattr(batch, item.name) for item in fields(batch))
    return sum(n_tokens(part) for part in held if isinstance(part, Inputs | Targets))
