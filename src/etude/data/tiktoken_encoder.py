"""Encodes byte-level BPE with tiktoken, about three times as fast as `tokenizers`, to the same ids.

https://github.com/openai/tiktoken. Both merge the adjacent pair of lowest rank, the leftmost first;
tiktoken any pair whose bytes are a token, `tokenizers` only the listed pairs. If every token,
encoded alone, becomes itself, then no other pair comes up: the merges inside the bytes of a token
do not depend on the text around them, and alone they end with its listed pair. That is checked.

Words are split by the same regular expression, of GPT-2. The two libraries may know different
versions of Unicode, so a text with a character that is unassigned in Python's is left out. A long
text is encoded in pieces, which end where a word ends and white space follows: every word of the
expression ends there, and none looks further back.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from typing import Any, Final, TypeAlias

import numpy as np
import tokenizers
from jaxtyping import Int
from tokenizers import models

from etude.data.byte_alphabet import BYTES

MAX_CHARS: Final = 2**18
"""Pieces are not longer: the regular expression may backtrack too often."""
_UNASSIGNED: Final = frozenset({"Cn", "Cs"})
"""Categories of characters that Python's version of Unicode does not assign, and of surrogates."""
_CUT: Final = re.compile(r".*\S(?=[ \n])", re.DOTALL)
_SUFFIXES: Final = "'s|'t|'re|'ve|'m|'ll|'d"
_GPT2: Final = rf"{_SUFFIXES}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+"
_DIGITS: Final = rf"\p{{N}}|{_SUFFIXES}| ?\p{{L}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?![^\s\p{{N}}])|\s+"
"""GPT-2's in a text that is first split at each digit: white space before one is at an end."""


Encode: TypeAlias = Callable[[str], Int[np.ndarray, " seq"] | None]
"""Returns the ids of a text, or None for a text that is left out."""


def tiktoken_encoder(inner: tokenizers.Tokenizer) -> Encode | None:
    """Returns a fast encoder with the ids of `inner`.

    None if tiktoken is not installed, or might encode some text differently.
    """
    content: dict[str, Any] = json.loads(inner.to_str())
    pattern = _pattern_of(content)
    if pattern is None or find_spec("tiktoken") is None:
        return None
    pieces = [*BYTES, *map("".join, _merges(content["model"]))]
    if not _is_consistent(content["model"], pieces):
        return None
    ranks = {b"".join(BYTES[c] for c in piece): rank for rank, piece in enumerate(pieces)}
    ids = np.array([content["model"]["vocab"][piece] for piece in pieces], dtype=np.int64)
    encoding: Any = import_module("tiktoken").Encoding(  # Any: an optional library
        "etude", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
    )

    def encode(text: str) -> Int[np.ndarray, " seq"] | None:
        if not (text.isascii() or _UNASSIGNED.isdisjoint(map(unicodedata.category, set(text)))):
            return None
        pieces = [*_pieces(text)]
        if len(pieces[-1]) > MAX_CHARS:
            return None
        return ids[[*chain.from_iterable(map(encoding.encode_ordinary, pieces))]]

    return encode


def _pieces(text: str) -> Iterator[str]:
    """Yields pieces of up to MAX_CHARS characters; the last is longer if it cannot be cut."""
    start = 0
    while len(text) - start > MAX_CHARS and (cut := _CUT.match(text, start, start + MAX_CHARS)):
        yield text[start : cut.end()]
        start = cut.end()
    yield text[start:]


def _pattern_of(content: dict[str, Any]) -> str | None:
    """The regular expression of the words of a tokenizer; None if it is not one of those above."""
    model = content["model"]
    changes = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
    if model["type"] != "BPE" or model["byte_fallback"] or any(map(model.get, changes)):
        return None
    if content["normalizer"] or not all(added["special"] for added in content["added_tokens"]):
        return None
    split: dict[str, Any] = content["pre_tokenizer"] or {"type": ""}
    steps: list[dict[str, Any]] = split.get("pretokenizers", [split])
    *before, last = ({**step, "trim_offsets": True} for step in steps)
    if last != _BYTES | {"add_prefix_space": False, "use_regex": True}:
        return None
    if not before:
        return _GPT2
    return _DIGITS if before == [_EACH_DIGIT] else None


_BYTES: Final = {"type": "ByteLevel", "trim_offsets": True}
_EACH_DIGIT: Final = {"type": "Digits", "individual_digits": True, "trim_offsets": True}


def _merges(model: dict[str, Any]) -> list[tuple[str, str]]:
    """The merges in order; older files join the two tokens by a space."""
    pairs = (one.split(" ") if isinstance(one, str) else one for one in model["merges"])
    return [(first, second) for first, second in pairs]


def _is_consistent(model: dict[str, Any], pieces: list[str]) -> bool:
    """Whether every piece, encoded alone, becomes itself, and no piece has two merges."""
    vocab: dict[str, int] = model["vocab"]
    if len(set(pieces)) < len(pieces) or not vocab.keys() >= set(pieces):
        return False
    alone = tokenizers.Tokenizer(models.BPE(vocab, _merges(model)))
    found = alone.encode_batch_fast(pieces, add_special_tokens=False)
    return all(one.ids == [vocab[piece]] for piece, one in zip(pieces, found, strict=True))
