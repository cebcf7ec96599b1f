"""Shows solved examples before the question, from the training split of the data.

Brown et al. 2020 (GPT-3), https://arxiv.org/abs/2005.14165, section 2.
"""

from dataclasses import dataclass

from etude import Chat, Prompt, plugin
from etude.evaluation import Case, Examples, Prompting

from ._shots import Shots, ShotsConfig


@dataclass
class FewShotConfig(ShotsConfig):
    """No knobs of its own; n=0 asks as prompting=zero_shot does."""


@plugin(FewShotConfig)
class FewShot(Prompting[FewShotConfig]):
    """Fixed, random or similar examples, as text or as turns."""

    def __init__(self, config: FewShotConfig, examples: Examples) -> None:
        super().__init__(config, examples)
        self.shots = Shots(config, examples)
        self.stop = self.shots.stop

    def prompt(self, case: Case[Prompt]) -> str | Chat:
        return self.shots.prompt(case)
