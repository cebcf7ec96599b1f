"""An existing tokenizer: a tokenizer.json, or a Hugging Face folder that contains one.

The roles of special tokens are read from the files next to it; missing ones get new ids at the end.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from etude import plugin
from etude.config import TokenizerConfig
from etude.data import Tokenizer, TokenizerSource


@dataclass
class PretrainedConfig(TokenizerConfig):
    path: str = MISSING
    """Path of the tokenizer.json, or of a folder that contains one."""


@plugin(PretrainedConfig, loads=True)
class Pretrained(TokenizerSource[PretrainedConfig]):
    """Encodes like the original, but the text of a special token is ordinary text."""

    def build(self, corpus: Callable[[], Iterator[str]]) -> Tokenizer:
        return Tokenizer.load(self.config.path)

    def fingerprint(self) -> str:
        path = Path(self.config.path)
        folder = path if path.is_dir() else path.parent
        files = sorted({path, *folder.glob("*token*.json")})
        contents = [file.read_bytes() for file in files if file.is_file()]
        return hashlib.sha256(b"\0".join(contents)).hexdigest()
