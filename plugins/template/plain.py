"""Plain: the role on a line of its own, then the message, between the reserved turn tokens.

Our own, in the manner of ChatML, with bos before the first turn.
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
    """Gives a tokenizer the template, instead of its own if it has one."""
    return tokenizer.with_template(DEFAULT, LITERALS)
