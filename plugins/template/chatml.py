"""ChatML: every message between <|im_start|> and <|im_end|>, as in Qwen and many others.

Template of https://huggingface.co/docs/transformers/chat_templating; there is no bos.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import TemplateConfig
from etude.data import Tokenizer

TEMPLATE = """\
{% for message in messages %}\
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
LITERALS = {"turn_start": "<|im_start|>", "turn_end": "<|im_end|>"}
"""Token roles and the strings that the template writes for them."""


@dataclass
class ChatmlConfig(TemplateConfig):
    """No knobs."""


@plugin(ChatmlConfig)
def chatml(config: ChatmlConfig, tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with this template and its two tokens."""
    return tokenizer.with_template(TEMPLATE, LITERALS)
