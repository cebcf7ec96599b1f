"""Characters and their names in Unicode: `é` is `LATIN SMALL LETTER E WITH ACUTE`.

About 33,000 that need no download, of the database that every Python carries. The names of the
Chinese characters and the Hangul syllables are left out: they only spell a number or a sound. Names
have a grammar (script, case, letter, marks), so those of characters never seen can be worked out
in part; how far, is what is learned here.
"""

import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from etude import Prompt, plugin
from etude.config import DataConfig
from etude.data import DataSource

SPELLED = ("CJK ", "HANGUL SYLLABLE ", "TANGUT ", "NUSHU CHARACTER-", "KHITAN ")
"""How the names begin that say no more than a number or a sound."""


class Direction(Enum):
    """What becomes what."""

    to_name = "to_name"
    to_character = "to_character"


@dataclass
class CharacterNamesConfig(DataConfig):
    direction: Direction = Direction.to_name
    """to_name asks for the name of a character, to_character for the character of a name."""


@plugin(CharacterNamesConfig, yields=Prompt)
class CharacterNames(DataSource[CharacterNamesConfig]):
    """In the order of their code points; the split is by their content."""

    def records(self) -> Iterator[Prompt]:
        for character in map(chr, range(0x21, sys.maxunicode + 1)):
            name = unicodedata.name(character, "")
            if name and not name.startswith(SPELLED):
                pair = (character, name)
                yield Prompt(*(pair if self.config.direction is Direction.to_name else pair[::-1]))

    def fingerprint(self) -> str:
        return unicodedata.unidata_version
