"""Encodes and decodes text: the wrapper of every tokenizer, and the contract of its plugins.

Text is data: a text that spells a special token is encoded as ordinary characters, and encoding
adds no special tokens. Callers insert special ids explicitly.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np
import tokenizers
from jaxtyping import Bool, Int
from tokenizers import decoders, models

from etude.config.schema.plugins import TokenizerConfig
from etude.data.byte_alphabet import BYTE_ALPHABET, BYTES
from etude.data.tokenizer_files import ROLES, read, rename_tokens, sentinels_of, write
from etude.data.vocab import Vocab
from etude.errors import CheckpointError, ConfigError

TokenizerC = TypeVar("TokenizerC", bound=TokenizerConfig)
Ids = Int[np.ndarray, " seq"]

N_SENTINELS: Final = 100
MASK_ALIASES: Final = ("[MASK]", "<mask>")
"""Common spellings of the mask token, accepted for every tokenizer."""
SPECIAL_TOKENS: Final = (
    *(f"<{role}>" for role in ROLES),
    *(f"<sentinel_{i}>" for i in range(N_SENTINELS)),
)
"""Reserved in every trained tokenizer, for every objective, as ids 0 to 108 in this order."""
SMALLEST_OF_BYTES: Final = len(SPECIAL_TOKENS) + len(BYTE_ALPHABET)
"""The smallest vocabulary of a lossless tokenizer: the special tokens and every byte."""

_NAMED: Final = {role: f"<{role}>" for role in ROLES}
_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")  # SentencePiece's byte fallback
_WORD_START: Final = re.compile(rb"\s|[\xe3-\xe9\xf0]")  # the first bytes of Chinese characters
_SENTENCE_END: Final = re.compile(
    r"""(?:[.!?]['")\]]*(?=\s)|(?:。|！|？)(?:”|’|」|』|）)*)\n*|\n+""".encode()
)


class Tokenizer:
    """A `tokenizers.Tokenizer` with named roles for its special tokens."""

    def __init__(
        self,
        inner: tokenizers.Tokenizer,
        roles: Mapping[str, str] = _NAMED,
        template: str | None = None,
    ) -> None:
        """Takes ownership of `inner`; `roles` maps roles to tokens. Missing tokens are appended."""
        self._inner = inner
        self._roles = {**_NAMED, **roles}
        self.template = template
        """The chat template, in Jinja; None if the tokenizer has none."""
        present = inner.get_vocab(with_added_tokens=True)
        self._sentinels = sentinels_of(present) or SPECIAL_TOKENS[len(ROLES) :]
        special = (*self._roles.values(), *self._sentinels)
        tokens = [tokenizers.AddedToken(literal, normalized=False) for literal in special]
        inner.add_special_tokens(tokens)  # pyright: ignore[reportUnknownMemberType] -- bare list
        inner.encode_special_tokens = True
        inner.no_padding()
        inner.no_truncation()
        self._spelled = re.compile("|".join(re.escape(literal) for literal in special))

    @cached_property
    def vocab(self) -> Vocab:
        """The vocabulary size and the special ids."""
        ids = self._inner.get_vocab(with_added_tokens=True)
        named = {role: ids[literal] for role, literal in self._roles.items()}
        sentinels = tuple(ids[literal] for literal in self._sentinels)
        return Vocab(size=max(ids.values()) + 1, **named, sentinels=sentinels)

    @cached_property
    def digest(self) -> str:
        """A digest that changes whenever an encoding or a role may change."""
        content = json.dumps([self._inner.to_str(), self._roles])
        return hashlib.sha256(content.encode()).hexdigest()

    def encode(self, text: str) -> Ids:
        """The ids of `text`, without special ids (except `unk`)."""
        return self.encode_batch([text])[0]

    def encode_with_mask(self, text: str) -> Ids:
        """The ids of a text in which special tokens are parsed, and [MASK] is the mask."""
        ids = {literal: int(i) for literal, i in self._inner.get_vocab(True).items()}
        named = {literal: ids[literal] for literal in (*self._roles.values(), *self._sentinels)}
        named |= dict.fromkeys(MASK_ALIASES, self.vocab.mask)
        parts = re.split(f"({'|'.join(map(re.escape, named))})", text)
        coded = [np.array([named[p]]) if p in named else self.encode(p) for p in parts if p]
        return np.concatenate([np.zeros(0, dtype=np.int64), *coded])

    def encode_with_special(self, text: str, *, begins: bool = True) -> Ids:
        """The ids of a text in which every special token is parsed, as transformers does.

        With `begins=False`, the text is encoded as if it followed a special token.
        """
        before = "" if begins else self._roles["eos"]
        ids = self._meant.encode(before + text, add_special_tokens=False).ids
        return np.array(ids[len(before) > 0 :], dtype=np.int64)

    @cached_property
    def _meant(self) -> tokenizers.Tokenizer:
        """A copy without `encode_special_tokens`, so it parses special tokens."""
        return tokenizers.Tokenizer.from_str(self._inner.to_str())

    @cached_property
    def spelled(self) -> re.Pattern[str]:
        """Matches every text that `encode_with_special` parses as a special token."""
        added = self._inner.get_added_tokens_decoder().values()
        literals = sorted((token.content for token in added), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, literals)))

    @property
    def literals(self) -> dict[str, str]:
        """The variables that name the special tokens in a chat template, such as `eos_token`."""
        return {f"{role}_token": literal for role, literal in self._roles.items()}

    def with_template(self, template: str, literals: Mapping[str, str]) -> "Tokenizer":
        """Returns a tokenizer with this chat template, whose `literals` of roles become tokens.

        A literal that is not in the vocabulary replaces the token of its role. Raises ConfigError
        if that token also has another role.
        """
        known = self._inner.get_vocab(with_added_tokens=True)
        roles = dict(self._roles)
        lacking = {role: new for role, new in literals.items() if new not in known}
        names = {roles[role]: new for role, new in lacking.items()}
        for role, new in lacking.items():
            if list(roles.values()).count(old := roles[role]) > 1:
                raise ConfigError(f"{new!r} cannot take the place of {old!r}, which has two roles.")
        roles |= literals
        inner = tokenizers.Tokenizer.from_str(rename_tokens(self._inner.to_str(), names))
        return Tokenizer(inner, roles, template)

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text."""
        encodings = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        found = [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]
        return [
            self._encode_spelled(text) if self._reserved[ids].any() else ids
            for text, ids in zip(texts, found, strict=True)
        ]

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of `ids`, without special tokens unless `skip_special` is false."""
        return self._inner.decode([int(i) for i in ids], skip_special_tokens=skip_special)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The readable text of each id; special tokens by name."""
        special = self.vocab.special
        return [
            str(self._inner.id_to_token(i)) if i in special else self._inner.decode([i])
            for i in map(int, ids)
        ]

    @cached_property
    def text_ids(self) -> Ids:
        """Every id that is not special, in order."""
        return np.setdiff1d(np.arange(self.vocab.size), sorted(self.vocab.special))

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes that each id adds to a text; empty for special ids.

        A space that a piece only implies, such as WordPiece's, is included.
        """
        found = [b""] * self.vocab.size
        for piece, i in self._inner.get_vocab(with_added_tokens=True).items():
            if i not in self.vocab.special:
                found[i] = self._bytes_of(piece)
        return tuple(found)

    @cached_property
    def _bytes_of(self) -> Callable[[str], bytes]:
        """Converts a vocabulary piece of this kind of tokenizer to its bytes."""
        model = self._inner.model
        decoder = self._inner.decoder
        if isinstance(decoder, decoders.ByteLevel):
            return lambda piece: b"".join(BYTES.get(c) or c.encode() for c in piece)
        if isinstance(model, models.WordPiece):
            inner = model.continuing_subword_prefix
            return lambda piece: f" {piece}".removeprefix(f" {inner}").encode()
        return lambda piece: (
            bytes.fromhex(found[1])
            if (found := _BYTE.fullmatch(piece))
            else piece.replace("▁", " ").encode()
        )

    @cached_property
    def _word_starts(self) -> Bool[np.ndarray, " vocab"]:
        return np.array([_WORD_START.match(text) is not None for text in self.token_bytes])

    def words(self, ids: Ids) -> Ids:
        """The number of the word that each id belongs to, from 1; 0 for special ids.

        A word starts with white space, with a Chinese character, or after a special id.
        """
        special = np.isin(ids, list(self.vocab.special))
        starts = self._word_starts[ids]
        starts[1:] |= special[:-1]
        starts[:1] = True
        return np.where(special, 0, np.cumsum(starts & ~special))

    def sentence_ends(self, ids: Ids) -> Int[np.ndarray, " sentences"]:
        """The number of ids up to the end of each sentence; the last one ends with `ids`.

        Sentences end at a full stop, question mark or exclamation mark before white space, at a
        Chinese one, including closing quotes, and at line breaks.
        """
        pieces = [self.token_bytes[i] for i in ids]
        sizes = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        ends = [match.end() for match in _SENTENCE_END.finditer(b"".join(pieces))]
        over = np.searchsorted(sizes, ends) + 1
        return np.unique(np.append(over, len(ids))) if pieces else over

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json for transformers' AutoTokenizer."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self._inner.to_str(pretty=True), encoding="utf-8")
        write(folder, self._roles, self.template)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Reads a tokenizer.json, or a folder that contains one, with its configuration files.

        Raises CheckpointError if it is missing or damaged.
        """
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise CheckpointError(f"No tokenizer at {path}: {file} does not exist.")
        try:
            inner = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises bare Exception for a file it cannot parse
            raise CheckpointError(f"{file} is not a tokenizer that can be read: {error}") from error
        return cls(inner, *read(file, inner.get_vocab(with_added_tokens=True)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the constructor's arguments, because a copy of `inner` loses some settings."""
        return Tokenizer, (self._inner, self._roles, self.template)

    @cached_property
    def _reserved(self) -> np.ndarray:
        """For each id, whether ordinary text must never be encoded to it."""
        roles = self._inner.get_vocab(with_added_tokens=True)
        allowed = self._roles["unk"]
        reserved = np.zeros(self.vocab.size, dtype=bool)
        for literal in (*self._roles.values(), *self._sentinels):
            reserved[roles[literal]] = literal != allowed
        return reserved

    def _encode_spelled(self, text: str) -> Ids:
        """Encodes a text in which the model itself matches special tokens, by splitting each.

        A Unigram model contains its special tokens as pieces, so it matches them in text.
        """
        cuts = [0, *(match.start() + 1 for match in self._spelled.finditer(text)), len(text)]
        parts = [text[start:end] for start, end in pairwise(cuts)]
        encodings = self._inner.encode_batch_fast(parts, add_special_tokens=False)
        ids = np.concatenate([np.array(encoding.ids, dtype=np.int64) for encoding in encodings])
        return np.where(self._reserved[ids], self.vocab.unk, ids)


class TokenizerSource(ABC, Generic[TokenizerC]):
    """Contract of the group `tokenizer`: trains a tokenizer on a corpus, or loads one."""

    def __init__(self, config: TokenizerC) -> None:
        self.config = config

    @abstractmethod
    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        """Returns the tokenizer; `corpus()` starts one pass over the training text.

        The same corpus gives the same tokenizer. A trained one has `SPECIAL_TOKENS` as its first
        ids, and its `vocab_size` counts them.
        """

    def fingerprint(self) -> str:
        """A digest of what determines the tokenizer besides its config and the corpus."""
        return ""
