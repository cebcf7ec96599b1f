"""Gemma: turns of `user` and `model` between <start_of_turn> and <end_of_turn>; no system role.

Gemma Team 2024, https://arxiv.org/abs/2403.08295, table 3; the template of gemma-2b-it.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import TemplateConfig
from etude.data import Tokenizer

TEMPLATE = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}\
{% endif %}\
<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}
{{ message['content'] | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
LITERALS = {"turn_start": "<start_of_turn>", "turn_end": "<end_of_turn>"}
"""Token roles and the strings that the template writes for them."""


@dataclass
class GemmaConfig(TemplateConfig):
    """No knobs."""


@plugin(GemmaConfig)
def gemma(config: GemmaConfig, tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with this template and its two tokens."""
    return tokenizer.with_template(TEMPLATE, LITERALS)
