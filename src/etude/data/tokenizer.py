"""Encodes and decodes text: the wrapper of every tokenizer.

Text is data: the text of a special token is encoded as ordinary characters, and encoding adds
no special tokens. Callers insert special ids explicitly.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import tokenizers
from jaxtyping import Bool, Int

from etude.data.byte_alphabet import bytes_of_pieces
from etude.data.encodings import BatchEncoder, character_spans, encodings
from etude.data.old_tokenizer import convert, old_files
from etude.data.special_tokens import (
    DEFAULT_ROLES,
    MASK_ALIASES,
    ROLES,
    SPECIAL_TOKENS,
    add_special,
    rename_tokens,
    sentinels_of,
    tokens_around,
    write_around,
)
from etude.data.tokenizer_files import TokenizerFiles, read, write
from etude.data.vocab import Vocab
from etude.errors import CheckpointError, ConfigError
from etude.files.json_file import reading
from etude.files.manifest import require_intact_if_sealed

Ids = Int[np.ndarray, " seq"]

_WORD_START: Final = re.compile(rb"\s|[\xe3-\xe9\xf0]")  # the first bytes of Chinese characters
_SENTENCE_END: Final = re.compile(
    r"""(?:[.!?]['")\]]*(?=\s)|(?:。|！|？)(?:”|’|」|』|）)*)\n*|\n+""".encode()
)


class Tokenizer:
    """A `tokenizers.Tokenizer` with named roles for its special tokens."""

    def __init__(self, inner: tokenizers.Tokenizer, files: TokenizerFiles | None = None) -> None:
        """Takes ownership of `inner`, an existing tokenizer as `files` describe it, or a new one.

        A new one gets every token of SPECIAL_TOKENS, and bos opens its texts.
        """
        if files is None:
            files = TokenizerFiles(DEFAULT_ROLES)
            add_special(inner, SPECIAL_TOKENS)
            write_around(inner, [files.roles["bos"]])
        self._inner = inner
        self._encode_batch = BatchEncoder(inner)
        self._files = files
        self._sentinels = sentinels_of(inner.get_vocab(with_added_tokens=True))
        special = (*files.roles.values(), *self._sentinels)
        add_special(inner, special)
        inner.encode_special_tokens = True
        inner.no_padding()
        inner.no_truncation()
        self._role_pattern = re.compile("|".join(re.escape(literal) for literal in special))

    @property
    def template(self) -> str | None:
        """The chat template, in Jinja; None if the tokenizer has none."""
        return self._files.template

    @cached_property
    def vocab(self) -> Vocab:
        """The vocabulary size and the special ids."""
        ids = self._inner.get_vocab(with_added_tokens=True)
        size = max(*ids.values(), self._files.model.n_rows - 1) + 1
        named = {role: ids[literal] for role, literal in self._files.roles.items()}
        named.setdefault("pad", named["eos"])  # padding has no effect, whatever its id
        absent = {role: size + i for i, role in enumerate(ROLES)}
        opening, closing = tokens_around(self._inner)
        stops = [literal for literal in self._files.model.stops if literal in ids]
        if self.template is not None and "turn_end" in named:
            stops.insert(0, self._files.roles["turn_end"])
        return Vocab(
            size=size,
            **(absent | named),
            sentinels=tuple(ids[literal] for literal in self._sentinels),
            opening=opening,
            closing=closing,
            other_stops=tuple(dict.fromkeys(ids[s] for s in stops if ids[s] != named["eos"])),
        )

    @cached_property
    def digest(self) -> str:
        """A digest that changes whenever an encoding or a role may change."""
        roles = sorted(self._files.roles.items())
        content = [self._inner.to_str(), roles, self.vocab.size, self.vocab.stops]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def encode(self, text: str) -> Ids:
        """The ids of `text`, without special ids (except `unk`)."""
        return self.encode_batch([text])[0]

    def encode_with_mask(self, text: str) -> Ids:
        """The ids of a text in which special tokens are parsed, and [MASK] is the mask."""
        for alias in MASK_ALIASES:
            text = text.replace(alias, self._files.roles.get("mask", alias))
        return self.encode_with_special(text)

    def encode_with_special(self, text: str, *, at_start: bool = True) -> Ids:
        """The ids of a text in which every special token is parsed, as transformers does.

        With `at_start=False`, the text is encoded as if it followed a special token.
        """
        before = "" if at_start else self._files.roles["eos"]
        return encodings(self._parsing_inner, [before + text])[0][len(before) > 0 :]

    @cached_property
    def _parsing_inner(self) -> tokenizers.Tokenizer:
        """A copy without `encode_special_tokens`, so it parses special tokens."""
        return tokenizers.Tokenizer.from_str(self._inner.to_str())

    @cached_property
    def special_pattern(self) -> re.Pattern[str]:
        """Matches what `encode_with_special` parses as one token; with a group if not special."""
        added = self._inner.get_added_tokens_decoder().values()
        longest = sorted(added, key=lambda token: -len(token.content))
        return re.compile("|".join(re.escape(t.content) + "()" * (not t.special) for t in longest))

    @property
    def literals(self) -> dict[str, str]:
        """The variables that name the special tokens in a chat template, such as `eos_token`."""
        return {f"{role}_token": literal for role, literal in self._files.roles.items()}

    def with_template(self, template: str | None, literals: Mapping[str, str]) -> "Tokenizer":
        """Returns a tokenizer with this chat template, whose `literals` of roles become tokens.

        A literal that is not in the vocabulary replaces the token of its role, if it has one.
        Raises ConfigError if that token also has another role.
        """
        known = self._inner.get_vocab(with_added_tokens=True)
        roles = dict(self._files.roles)
        missing = {role: new for role, new in literals.items() if new not in known}
        names = {roles[role]: new for role, new in missing.items() if role in roles}
        for old, new in names.items():
            if list(roles.values()).count(old) > 1:
                raise ConfigError(
                    f"The template's {new!r} cannot replace the token {old!r}, which has two roles."
                )
        roles |= literals
        files = replace(self._files, roles=roles, template=template)
        return Tokenizer(rename_tokens(self._inner, names), files)

    def with_tokens(self, needed: Collection[str]) -> "Tokenizer":
        """Returns a tokenizer with the tokens of these roles, or "sentinels"; missing ones are new.

        New ids follow those of the tokenizer; no trained network knows them.
        """
        roles = {role: f"<{role}>" for role in ROLES if role in needed} | dict(self._files.roles)
        sentinels = self._sentinels or SPECIAL_TOKENS[len(ROLES) :] * ("sentinels" in needed)
        if roles == self._files.roles and sentinels == self._sentinels:
            return self
        inner = tokenizers.Tokenizer.from_str(self._inner.to_str())
        add_special(inner, (*roles.values(), *sentinels))
        return Tokenizer(inner, replace(self._files, roles=roles))

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text."""
        return [
            self._encode_split(text) if self._is_reserved[ids].any() else ids
            for text, ids in zip(texts, self._encode_batch(texts), strict=True)
        ]

    def offsets(self, text: str) -> Int[np.ndarray, "seq 2"]:
        """Start and end, in characters, of the part of a text that each id of `encode` is from.

        White space at both ends is left out; ids that are bytes of one character have the same.
        """
        is_split = self._is_reserved[self._encode_batch([text])[0]].any()
        return character_spans(self._inner, self._parts(text) if is_split else [text])

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
        every = self._inner.get_vocab(with_added_tokens=True).values()
        return np.setdiff1d(np.array([*every]), sorted(self.vocab.special))

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes that each id adds to a text; empty for special ids.

        A space that a piece only implies, such as WordPiece's, is included.
        """
        found = [b""] * self.vocab.size
        bytes_of = bytes_of_pieces(self._inner)
        for piece, i in self._inner.get_vocab(with_added_tokens=True).items():
            if i not in self.vocab.special:
                found[i] = bytes_of(piece)
        return tuple(found)

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
        write(folder, self._files)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Reads a tokenizer.json, or a folder that contains one, with its configuration files.

        Older vocabulary files are converted. Raises CheckpointError if it is missing or damaged.
        """
        path = Path(path)
        require_intact_if_sealed(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            if old_files(path):
                with TemporaryDirectory() as converted:
                    convert(path, Path(converted))
                    return cls.load(converted)
            raise CheckpointError(f"No tokenizer at {path}: {file} does not exist.")
        with reading(path):
            inner, files = read(file)
            return cls(inner, replace(files, roles={"eos": "<eos>", **files.roles}))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the constructor's arguments, because a copy of `inner` loses some settings."""
        return Tokenizer, (self._inner, self._files)

    @cached_property
    def _is_reserved(self) -> np.ndarray:
        """For each id, whether ordinary text must never be encoded to it."""
        return np.isin(np.arange(self.vocab.size), [*self.vocab.special - {self.vocab.unk}])

    def _encode_split(self, text: str) -> Ids:
        """Encodes a text in which the model itself matches special tokens, by splitting each.

        A Unigram model contains its special tokens as pieces, so it matches them in text.
        """
        ids = np.concatenate(encodings(self._inner, self._parts(text)))
        return np.where(self._is_reserved[ids], self.vocab.unk, ids)

    def _parts(self, text: str) -> list[str]:
        """A text, split after the first character of each special token in it."""
        cuts = [0, *(match.start() + 1 for match in self._role_pattern.finditer(text)), len(text)]
        return [text[start:end] for start, end in pairwise(cuts)]
