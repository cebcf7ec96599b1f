"""An existing tokenizer: a tokenizer.json, or a Hugging Face folder that contains one.

The roles of special tokens are read from the files next to it, and so is what opens a text: bos if
its post-processor writes one, else nothing. A token that it lacks gets a new id at the end if the
objective or the chat template writes it. Older vocabulary files need the extra `transformers`.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from omegaconf import MISSING

from etude import plugin
from etude.config import TokenizerConfig
from etude.data import Tokenizer, TokenizerSource
from etude.files import sha256

SHAPING = (
    "*token*.json", "vocab*", "merges*", "*.model", "*chat_template*", "*.jinja", "config.json",
    "generation_config.json",
)  # fmt: skip
"""The files of a Hugging Face folder that a tokenizer is read from."""


@dataclass
class PretrainedConfig(TokenizerConfig):
    path: str = MISSING
    """Path of the tokenizer.json, or of a folder that contains one."""


@plugin(PretrainedConfig, loads=True, example={"path": "{run}/tokenizer"})
class Pretrained(TokenizerSource[PretrainedConfig]):
    """Encodes like the original, but the text of a special token is ordinary text."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        return Tokenizer.load(self.config.path)

    def fingerprint(self) -> str:
        path = Path(self.config.path)
        folder = path if path.is_dir() else path.parent
        files = {path, *chain.from_iterable(map(folder.glob, SHAPING))}
        digests = [(file.name, sha256(file)) for file in sorted(files) if file.is_file()]
        return hashlib.sha256(repr(digests).encode()).hexdigest()
