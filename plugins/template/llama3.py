"""LLaMA 3: a header with the role, an empty line, the message, <|eot_id|>.

Grattafiori et al. 2024, https://arxiv.org/abs/2407.21783; the template of Llama-3-8B-Instruct,
without the tools and the date of later versions. If a tokenizer has no end-of-header token, sep
takes that role.
"""

from dataclasses import dataclass

from etude import plugin
from etude.config import TemplateConfig
from etude.data import Tokenizer

TEMPLATE = """\
{{ bos_token }}{% for message in messages %}\
<|start_header_id|>{{ message['role'] }}<|end_header_id|>

{{ message['content'] | trim }}<|eot_id|>{% endfor %}\
{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
LITERALS = {
    "turn_start": "<|start_header_id|>",
    "turn_end": "<|eot_id|>",
    "sep": "<|end_header_id|>",
}
"""Token roles and the strings that the template writes for them."""


@dataclass
class Llama3Config(TemplateConfig):
    """No knobs."""


@plugin(Llama3Config)
def llama3(config: Llama3Config, tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with this template and its three tokens."""
    return tokenizer.with_template(TEMPLATE, LITERALS)
