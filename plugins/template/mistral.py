"""Mistral: instructions between [INST] and [/INST], answers end with eos; no role headers.

The form of tokenizer V3 (Mistral-7B-Instruct-v0.3), as in
https://github.com/mistralai/cookbook, concept-deep-dive/tokenization/templates.md. Deviation: the
system message precedes the first instruction, as in V1, not the last, so that a new turn does not
change earlier ones. If a tokenizer has no token for [/INST], sep takes that role.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import TemplateConfig
from etude.data import Tokenizer

TEMPLATE = """\
{{ bos_token }}{% set system = namespace(text='') %}\
{% if messages[0]['role'] == 'system' %}\
{% set system.text = messages[0]['content'] + '\\n\\n' %}\
{% set messages = messages[1:] %}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}\
{% endif %}\
{% if message['role'] == 'user' %}\
[INST] {{ (system.text if loop.first else '') + message['content'] }}[/INST]\
{% else %} {{ message['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"""
LITERALS = {"turn_start": "[INST]", "sep": "[/INST]"}
"""Token roles and the strings that the template writes for them."""


@dataclass
class MistralConfig(TemplateConfig):
    """No knobs."""


@plugin(MistralConfig)
def mistral(config: MistralConfig, tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with this template and its two tokens."""
    return tokenizer.with_template(TEMPLATE, LITERALS)
