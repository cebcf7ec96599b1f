"""Conversations as a play: who speaks, a colon, and what is said.

(Name your own source here, and what you do otherwise.)
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
"""The tokens that the template writes itself."""


@dataclass
class SketchConfig(TemplateConfig):
    mark: str = ": "
    """What stands between a speaker and what is said."""

    def __post_init__(self) -> None:
        require(self.mark != "", "mark is empty, so nothing would end the name of the speaker")


@plugin(SketchConfig)
def sketch(config: SketchConfig, tokenizer: Tokenizer) -> Tokenizer:
    """Gives a tokenizer the template."""
    return tokenizer.with_template(TEMPLATE.replace("MARK", config.mark), LITERALS)
