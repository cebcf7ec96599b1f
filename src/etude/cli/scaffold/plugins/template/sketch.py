"""Chat template that writes the role, a separator and the content of each message.

(Replace this with your source and your deviations from it.)
"""

from dataclasses import dataclass

from etude import plugin, require
from etude.config import TemplateConfig
from etude.data import Tokenizer

TEMPLATE = """\
{% for message in messages %}\
<turn_start>{{ message['role'] }}MARK{{ message['content'] }}<turn_end>
{% endfor %}{% if add_generation_prompt %}<turn_start>assistantMARK{% endif %}"""
LITERALS = {"turn_start": "<turn_start>", "turn_end": "<turn_end>"}
"""The special tokens that the template inserts."""


@dataclass
class SketchConfig(TemplateConfig):
    mark: str = ": "
    """Separator between role and content."""

    def __post_init__(self) -> None:
        require(self.mark != "", "mark must not be empty: it separates the role from the content")


@plugin(SketchConfig)
def sketch(config: SketchConfig, tokenizer: Tokenizer) -> Tokenizer:
    """Returns the tokenizer with this template."""
    return tokenizer.with_template(TEMPLATE.replace("MARK", config.mark), LITERALS)
