"""Characters and their names in Unicode: `é` is `LATIN SMALL LETTER E WITH ACUTE`.

About 33,000 pairs from Python's own Unicode database, without a download. The names of Chinese
characters and Hangul syllables are left out: they only encode a number or a sound. Names have a
grammar (script, case, letter, marks), so a model can partly infer the names of unseen characters.
"""

import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from etude import Prompt, plugin
from etude.config import DataConfig
from etude.data import DataSource

NUMBERED = ("CJK ", "HANGUL SYLLABLE ", "TANGUT ", "NUSHU CHARACTER-", "KHITAN ")
"""Prefixes of names that only encode a number or a sound."""


class Direction(Enum):
    """Direction of the mapping."""

    to_name = "to_name"
    to_character = "to_character"


@dataclass
class CharacterNamesConfig(DataConfig):
    direction: Direction = Direction.to_name
    """to_name = from a character to its name, to_character = from a name to its character."""


@plugin(CharacterNamesConfig, yields=Prompt)
class CharacterNames(DataSource[CharacterNamesConfig]):
    """Yields pairs in code-point order; the train/validation split is by content."""

    def records(self) -> Iterator[Prompt]:
        for character in map(chr, range(0x21, sys.maxunicode + 1)):
            name = unicodedata.name(character, "")
            if name and not name.startswith(NUMBERED):
                pair = (character, name)
                yield Prompt(*(pair if self.config.direction is Direction.to_name else pair[::-1]))

    def fingerprint(self) -> str:
        return unicodedata.unidata_version
