"""Plain with eos: the role on its own line, the message, then eos; it needs no new token.

étude's own format, and the default of objective=sft on a model without a template.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import TemplateConfig
from etude.data import DEFAULT_OF_BASES, Tokenizer


@dataclass
class PlainEosConfig(TemplateConfig):
    """No knobs."""


@plugin(PlainEosConfig)
def plain_eos(config: PlainEosConfig, tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with this template, which replaces any template it has."""
    return tokenizer.with_template(DEFAULT_OF_BASES, {})
