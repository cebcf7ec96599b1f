"""Text to ids and back: one wrapper for every tokenizer, and the contract of those who make one.

Text is data: a text that spells a special token is encoded as the characters it consists of, and
encoding adds no special token by itself. Special ids are put in by those who mean them.
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
from etude.data.tokenizer_files import ROLES, read, renamed, sentinels_of, write
from etude.data.vocab import Vocab
from etude.errors import CheckpointError, ConfigError

TokenizerC = TypeVar("TokenizerC", bound=TokenizerConfig)
Ids = Int[np.ndarray, " seq"]

N_SENTINELS: Final = 100
MASK_ALIASES: Final = ("[MASK]", "<mask>")
"""How people write the mask, whatever a tokenizer calls it."""
SPECIAL_TOKENS: Final = (
    *(f"<{role}>" for role in ROLES),
    *(f"<sentinel_{i}>" for i in range(N_SENTINELS)),
)
"""Reserved in every trained tokenizer, whatever the objective, as ids 0 to 108 in this order."""
SMALLEST_OF_BYTES: Final = len(SPECIAL_TOKENS) + len(BYTE_ALPHABET)
"""The fewest ids of a lossless tokenizer: the special tokens and every byte."""

_NAMED: Final = {role: f"<{role}>" for role in ROLES}
_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")  # what SentencePiece falls back to
_WORD_START: Final = re.compile(rb"\s|[\xe3-\xe9\xf0]")  # the first bytes of Chinese characters
_SENTENCE_END: Final = re.compile(
    r"""(?:[.!?]['")\]]*(?=\s)|(?:。|！|？)(?:”|’|」|』|）)*)\n*|\n+""".encode()
)


class Tokenizer:
    """A `tokenizers.Tokenizer` that knows the role of its special tokens."""

    def __init__(
        self,
        inner: tokenizers.Tokenizer,
        roles: Mapping[str, str] = _NAMED,
        template: str | None = None,
    ) -> None:
        """Takes `inner` over; `roles` gives the literals of roles, and what lacks is appended."""
        self._inner = inner
        self._roles = {**_NAMED, **roles}
        self.template = template
        """How a conversation is written, in Jinja; None where none was ever taught."""
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
        """The number of ids, and the special ones."""
        ids = self._inner.get_vocab(with_added_tokens=True)
        named = {role: ids[literal] for role, literal in self._roles.items()}
        sentinels = tuple(ids[literal] for literal in self._sentinels)
        return Vocab(size=max(ids.values()) + 1, **named, sentinels=sentinels)

    @cached_property
    def digest(self) -> str:
        """Changes whenever an encoding or a role could."""
        content = json.dumps([self._inner.to_str(), self._roles])
        return hashlib.sha256(content.encode()).hexdigest()

    def encode(self, text: str) -> Ids:
        """The ids of `text`, none of them special (but `unk`)."""
        return self.encode_batch([text])[0]

    def encode_marked(self, text: str) -> Ids:
        """The ids of a text that means the special tokens it spells, and [MASK] for the mask."""
        ids = {literal: int(i) for literal, i in self._inner.get_vocab(True).items()}
        named = {literal: ids[literal] for literal in (*self._roles.values(), *self._sentinels)}
        named |= dict.fromkeys(MASK_ALIASES, self.vocab.mask)
        parts = re.split(f"({'|'.join(map(re.escape, named))})", text)
        coded = [np.array([named[p]]) if p in named else self.encode(p) for p in parts if p]
        return np.concatenate([np.zeros(0, dtype=np.int64), *coded])

    def encode_with_special(self, text: str, *, begins: bool = True) -> Ids:
        """The ids of a text that means every special token it spells, as transformers encodes it.

        Unless it `begins` a row, it is encoded as if it followed a special token.
        """
        before = "" if begins else self._roles["eos"]
        ids = self._meant.encode(before + text, add_special_tokens=False).ids
        return np.array(ids[len(before) > 0 :], dtype=np.int64)

    @cached_property
    def _meant(self) -> tokenizers.Tokenizer:
        """A copy forgets that text is data."""
        return tokenizers.Tokenizer.from_str(self._inner.to_str())

    @cached_property
    def spelled(self) -> re.Pattern[str]:
        """Finds what `encode_with_special` would take for a special token."""
        added = self._inner.get_added_tokens_decoder().values()
        literals = sorted((token.content for token in added), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, literals)))

    @property
    def literals(self) -> dict[str, str]:
        """What a chat template knows the special tokens by."""
        return {f"{role}_token": literal for role, literal in self._roles.items()}

    def with_template(self, template: str, literals: Mapping[str, str]) -> "Tokenizer":
        """Returns the same with a chat template, whose `literals` of roles become tokens.

        A literal that it lacks takes the place of what stood for the role. Raises ConfigError
        where that is also the literal of another role.
        """
        known = self._inner.get_vocab(with_added_tokens=True)
        roles = dict(self._roles)
        lacking = {role: new for role, new in literals.items() if new not in known}
        names = {roles[role]: new for role, new in lacking.items()}
        for role, new in lacking.items():
            if list(roles.values()).count(old := roles[role]) > 1:
                raise ConfigError(f"{new!r} cannot take the place of {old!r}, which has two roles.")
        roles |= literals
        inner = tokenizers.Tokenizer.from_str(renamed(self._inner.to_str(), names))
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
        """The text of `ids`; special tokens have none, unless they are not to be skipped."""
        return self._inner.decode([int(i) for i in ids], skip_special_tokens=skip_special)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Each id as a reader would like to see it, special tokens by name."""
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
        """What each id adds to a text; special ids add nothing.

        Where a piece only implies the space before it, the space is there.
        """
        found = [b""] * self.vocab.size
        for piece, i in self._inner.get_vocab(with_added_tokens=True).items():
            if i not in self.vocab.special:
                found[i] = self._bytes_of(piece)
        return tuple(found)

    @cached_property
    def _bytes_of(self) -> Callable[[str], bytes]:
        """Undoes how this kind of tokenizer writes its pieces."""
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
        """The number of the word that each id is part of, from 1; special ids are part of none: 0.

        A word starts with white space or a Chinese character, and behind a special id.
        """
        special = np.isin(ids, list(self.vocab.special))
        starts = self._word_starts[ids]
        starts[1:] |= special[:-1]
        starts[:1] = True
        return np.where(special, 0, np.cumsum(starts & ~special))

    def sentence_ends(self, ids: Ids) -> Int[np.ndarray, " sentences"]:
        """After how many ids each sentence is over; the last, finished or not, ends with `ids`.

        Sentences end at a full stop, question or exclamation mark that white space follows, at a
        Chinese one, with the quotes that it closes, and at line breaks.
        """
        pieces = [self.token_bytes[i] for i in ids]
        sizes = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        ends = [match.end() for match in _SENTENCE_END.finditer(b"".join(pieces))]
        over = np.searchsorted(sizes, ends) + 1
        return np.unique(np.append(over, len(ids))) if pieces else over

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json, as transformers' AutoTokenizer reads."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self._inner.to_str(pretty=True), encoding="utf-8")
        write(folder, self._roles, self.template)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Reads a tokenizer.json, or the folder that holds one with its roles beside it.

        Raises CheckpointError when it is missing or damaged.
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
        """What `inner` forgets when it is copied, the constructor sets again."""
        return Tokenizer, (self._inner, self._roles, self.template)

    @cached_property
    def _reserved(self) -> np.ndarray:
        """For each id, whether text must never be encoded to it."""
        roles = self._inner.get_vocab(with_added_tokens=True)
        allowed = self._roles["unk"]
        reserved = np.zeros(self.vocab.size, dtype=bool)
        for literal in (*self._roles.values(), *self._sentinels):
            reserved[roles[literal]] = literal != allowed
        return reserved

    def _encode_spelled(self, text: str) -> Ids:
        """Encodes a text in which the model itself finds special tokens, by cutting each in two.

        A Unigram model has its special tokens among its pieces, so it finds them in text.
        """
        cuts = [0, *(match.start() + 1 for match in self._spelled.finditer(text)), len(text)]
        parts = [text[start:end] for start, end in pairwise(cuts)]
        encodings = self._inner.encode_batch_fast(parts, add_special_tokens=False)
        ids = np.concatenate([np.array(encoding.ids, dtype=np.int64) for encoding in encodings])
        return np.where(self._reserved[ids], self.vocab.unk, ids)


class TokenizerSource(ABC, Generic[TokenizerC]):
    """The group `tokenizer`: trains a tokenizer on a corpus, or loads one."""

    def __init__(self, config: TokenizerC) -> None:
        self.config = config

    @abstractmethod
    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        """Returns the tokenizer; `corpus()` starts one pass over the training text.

        The same corpus gives the same tokenizer. A trained one has `SPECIAL_TOKENS` as its first
        ids, and its `vocab_size` counts them.
        """

    def fingerprint(self) -> str:
        """A digest of what shapes the tokenizer besides its config and the corpus."""
        return ""
