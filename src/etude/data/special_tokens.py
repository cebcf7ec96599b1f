"""Special tokens: roles, the reserved ones, and those that a tokenizer writes around a text."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import tokenizers
from tokenizers import processors

from etude.config.schema.plugins import N_SENTINELS, TrainedTokenizerConfig, require
from etude.data.byte_alphabet import BYTE_ALPHABET

ROLES: Final = ("pad", "unk", "bos", "eos", "mask", "cls", "sep", "turn_start", "turn_end")
USUAL: Final = {
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "bos": ("<s>", "<bos>"),
    "eos": ("</s>", "<eos>"),
    "mask": ("[MASK]", "<mask>"),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
    "turn_start": ("<|im_start|>", "<start_of_turn>", "<|start_header_id|>"),
    "turn_end": ("<|im_end|>", "<end_of_turn>", "<|eot_id|>"),
}
"""The tokens of known model families, for files that do not name them."""

MASK_ALIASES: Final = ("[MASK]", "<mask>")
"""Common spellings of the mask token, accepted for every tokenizer."""


def reserved_tokens(n_sentinels: int) -> tuple[str, ...]:
    """The special tokens that a new tokenizer reserves, in the order of their ids."""
    return (*(f"<{role}>" for role in ROLES), *(f"<sentinel_{i}>" for i in range(n_sentinels)))


SPECIAL_TOKENS: Final = reserved_tokens(N_SENTINELS)
"""Reserved in every trained tokenizer, for every objective, as ids 0 to 108 in this order."""


def require_bytes(config: TrainedTokenizerConfig) -> None:
    """Raises ValueError if the special tokens and every byte exceed the vocabulary."""
    n_special = len(reserved_tokens(config.n_sentinels))
    smallest = n_special + len(BYTE_ALPHABET)
    require(
        config.vocab_size >= smallest,
        f"vocab_size must be at least {smallest} ({n_special} special tokens and 256 bytes), got "
        f"{config.vocab_size}",
    )


DEFAULT_ROLES: Final = {role: f"<{role}>" for role in ROLES}

_SENTINEL: Final = re.compile(r"<(?:sentinel|extra_id)_(\d+)>")  # ours, and T5's


def sentinels_of(vocabulary: Mapping[str, int]) -> tuple[str, ...]:
    """The sentinel tokens of a vocabulary, in order; empty if it has none."""
    numbered = ((literal, _SENTINEL.fullmatch(literal)) for literal in vocabulary)
    found = {int(match[1]): literal for literal, match in numbered if match}
    return tuple(found[i] for i in sorted(found))


def add_special(inner: tokenizers.Tokenizer, literals: Iterable[str]) -> None:
    """Adds special tokens; those that exist keep their settings, such as the space they absorb."""
    known = {one.content for one in inner.get_added_tokens_decoder().values() if one.special}
    tokens = [tokenizers.AddedToken(one, normalized=False) for one in literals if one not in known]
    inner.add_special_tokens(tokens)  # pyright: ignore[reportUnknownMemberType] -- bare list


def write_around(
    inner: tokenizers.Tokenizer,
    opening: Iterable[str],
    closing: Iterable[str] = (),
    between: Iterable[str] | None = None,
) -> None:
    """Makes transformers' `tok(text)` write these tokens around a text, and between two.

    `between` is `closing` unless given.
    """
    before, after = [*opening], [*closing]
    middle = after if between is None else [*between]
    inner.post_processor = processors.TemplateProcessing(
        single=[*before, "$A", *after],
        pair=[*before, "$A", *middle, "$B:1", *(f"{one}:1" for one in after)],
        special_tokens=[(one, inner.token_to_id(one)) for one in {*before, *middle, *after}],
    )


def tokens_around(inner: tokenizers.Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that transformers' `tok(text)` writes before and after a text."""
    text = inner.encode("a", add_special_tokens=False)
    framed = inner.post_process(text)
    start = (*framed.special_tokens_mask, 0).index(0)
    return tuple(framed.ids[:start]), tuple(framed.ids[start + len(text.ids) :])


def tokens_between(inner: tokenizers.Tokenizer) -> tuple[int, ...]:
    """The ids that transformers' `tok(text, other)` writes between two texts, as RoBERTa's do."""
    framed = inner.encode("a", "a")
    first, second = (framed.sequence_ids.index(i) for i in (0, 1))
    return tuple(framed.ids[i] for i in range(first, second) if framed.special_tokens_mask[i])


def rename_tokens(inner: tokenizers.Tokenizer, names: Mapping[str, str]) -> tokenizers.Tokenizer:
    """A copy of a tokenizer with some tokens renamed and every id unchanged."""
    content: dict[str, Any] = json.loads(inner.to_str())
    for added in content["added_tokens"]:
        added["content"] = names.get(added["content"], added["content"])
    pieces = content["model"]["vocab"]
    content["model"]["vocab"] = (
        {names.get(piece, piece): i for piece, i in pieces.items()}
        if isinstance(pieces, dict)
        else [[names.get(piece, piece), score] for piece, score in pieces]
    )
    copy = tokenizers.Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    if names:
        around = tokens_around(inner)
        write_around(copy, *([str(copy.id_to_token(i)) for i in ids] for ids in around))
    return copy
