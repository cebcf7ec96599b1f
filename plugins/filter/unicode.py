"""Repairs text that was decoded with a wrong encoding, control characters and Unicode variants.

By ftfy, https://ftfy.readthedocs.io (Speer 2019, https://doi.org/10.5281/zenodo.2591652), line by
line. Deviation from its defaults: quotation marks and full-width characters stay as they are,
because the second are the punctuation of Chinese and Japanese.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from importlib.metadata import version
from typing import Any, Final

from etude import Record, plugin
from etude.config import FilterConfig
from etude.data import Change, Drop, Edit, Filter

from ._texts import edited


class Form(Enum):
    """A Unicode normalisation form."""

    nfc = "NFC"
    nfkc = "NFKC"
    none = "none"


PLAIN: Final = re.compile(r"[\n\t\x20-%'-~]*")
"""Text that nothing changes: ASCII without & and control characters."""
RULES: Final = {
    "unescape_html": "HTML entities",
    "fix_latin_ligatures": "ligatures",
    "fix_character_width": "width",
    "uncurl_quotes": "quotation marks",
    "fix_line_breaks": "line breaks",
    "fix_surrogates": "surrogates",
    "remove_terminal_escapes": "control characters",
    "remove_control_chars": "control characters",
    "NFC": "normalization",
    "NFKC": "normalization",
}
"""Our names of ftfy's steps; all others repair an encoding."""


@dataclass
class UnicodeConfig(FilterConfig):
    mojibake: bool = True
    """Repair text that was decoded with a wrong encoding, such as `cafÃ©`."""
    html: bool = True
    """Replace HTML entities, such as &amp;, in documents without <."""
    form: Form = Form.nfc
    """Unicode normalisation: nfc, none, or nfkc, which also makes full-width punctuation ASCII."""
    width: bool = False
    """Replace full-width letters and punctuation by ASCII, and half-width kana by kana; Chinese
    then loses its punctuation marks."""
    quotes: bool = False
    """Replace curly quotation marks by straight ones."""


@plugin(UnicodeConfig, extra="clean", libraries={"ftfy"})
class Unicode(Filter[UnicodeConfig]):
    """Changes damaged lines; the audit has the first line of each kind of damage."""

    per_record = True

    def decide(self, record: Record) -> Change | Drop | None:
        return edited(record, self.repaired)

    def fingerprint(self) -> str:
        """The version of the library that decides."""
        return version("ftfy")

    @cached_property
    def _settings(self) -> Any:  # ftfy.TextFixerConfig
        from ftfy import TextFixerConfig

        config = self.config
        return TextFixerConfig(
            unescape_html="auto" if config.html else False,
            fix_encoding=config.mojibake,
            fix_c1_controls=config.mojibake,
            fix_character_width=config.width,
            uncurl_quotes=config.quotes,
            normalization=None if config.form is Form.none else config.form.value,
        )

    def repaired(self, text: str) -> tuple[str, list[Edit]]:
        """Returns a text without damage, and an edit for each kind of damage."""
        if PLAIN.fullmatch(text):
            return text, []
        from ftfy import fix_and_explain

        settings = self._settings
        if "<" in text:
            settings = settings._replace(unescape_html=False)
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)  # by rule
        lines: list[str] = []
        for line in re.split(r"(?<=\n)", text):
            new, steps = fix_and_explain(line, settings)
            lines.append(new)
            if new != line:
                for rule in dict.fromkeys(
                    RULES.get(one.parameter, "mojibake") for one in steps or ()
                ):
                    found[rule].append((line, new))
        edits = [Edit.of_text(rule, *pairs[0], len(pairs)) for rule, pairs in found.items()]
        return "".join(lines), edits
