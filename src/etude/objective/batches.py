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
from etude.records import Chat, Message, Preference

Ids = Sequence[int]
PROMPTS_CUT = "prompts cut to fit data.seq_len"
COMPLETIONS_CUT = "completions cut to fit data.seq_len"
"""Reasons for `Objective.cuts`."""


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
    cuts: Sequence[str] = ()
    """What of it exceeds data.seq_len, as reasons for `Objective.cuts`."""


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
    tokenizer: Tokenizer, prompt: str | Chat, completion: str | Message, seq_len: int
) -> tuple[Ids, Ids, Sequence[str]]:
    """Returns the ids of a prompt and its completion, and what was cut: see `fit`."""
    before, after = exchange(tokenizer, prompt, completion)
    before, (after,), cuts = fit(before, [after], seq_len)
    return before, after, cuts


def fit(
    prompt: Ids, completions: Sequence[Ids], seq_len: int
) -> tuple[Ids, Sequence[Ids], Sequence[str]]:
    """Cuts a prompt and its completions to `seq_len` + 1 ids a pair; returns what was cut, too.

    The prompt keeps its first id and its end: half of `seq_len`, or all that the longest completion
    leaves. Each completion then has the rest, and loses its end: a cut one has no stop token.
    """
    longest = max(map(len, completions))
    kept = keep_end(prompt, max(seq_len // 2, seq_len + 1 - longest))
    room = seq_len + 1 - len(kept)
    reasons = {PROMPTS_CUT: len(kept) < len(prompt), COMPLETIONS_CUT: longest > room}
    return kept, [ids[:room] for ids in completions], [why for why, cut in reasons.items() if cut]


def prompt_ids(tokenizer: Tokenizer, prompt: str | Chat, max_length: int) -> Ids:
    """Returns a prompt without completion, cut as in `keep_end`."""
    return keep_end(question(tokenizer, prompt), max_length)


def keep_end(ids: Ids, max_length: int) -> Ids:
    """Returns the first id and the last ones, at most `max_length`."""
    return [ids[0], *ids[1:][max(0, len(ids) - max_length) :]]


def preference_example(tokenizer: Tokenizer, record: Preference, seq_len: int) -> PreferenceExample:
    """Encodes both completions with the same prompt, cut as in `fit`."""
    prompt, chosen = exchange(tokenizer, record.prompt, record.chosen)
    _, rejected = exchange(tokenizer, record.prompt, record.rejected)
    prompt, (chosen, rejected), cuts = fit(prompt, [chosen, rejected], seq_len)
    return PreferenceExample(prompt, chosen, rejected, cuts)


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
