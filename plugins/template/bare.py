"""Bare: the messages alone, each ended by one token: sep, or eos after the assistant's; no roles.

étude's own format, for short prompts and completions, such as those of synthetic tasks.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import TemplateConfig
from etude.data import Tokenizer

TEMPLATE = """\
{{ bos_token }}{% for message in messages %}{{ message['content'] }}\
{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %}<sep>{% endif %}{% endfor %}"""
LITERALS = {"sep": "<sep>"}
"""Token roles and the strings that the template writes for them."""


@dataclass
class BareConfig(TemplateConfig):
    """No knobs."""


@plugin(BareConfig)
def bare(config: BareConfig, tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with this template, which replaces any template it has."""
    return tokenizer.with_template(TEMPLATE, LITERALS)
