"""Plain: the role on its own line, then the message, between the reserved turn tokens.

étude's own format, similar to ChatML, with bos before the first turn.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import TemplateConfig
from etude.data import DEFAULT, LITERALS, Tokenizer


@dataclass
class PlainConfig(TemplateConfig):
    """No knobs."""


@plugin(PlainConfig)
def plain(config: PlainConfig, tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with this template, which replaces any template it has."""
    return tokenizer.with_template(DEFAULT, LITERALS)
