"""Shows solved examples before the question, from the training split of the data.

Brown et al. 2020 (GPT-3), https://arxiv.org/abs/2005.14165, section 2.
"""

from dataclasses import dataclass

from etude import Chat, Prompt, plugin, require
from etude.evaluation import Case, Examples, Prompting

from ._shots import Shots, ShotsConfig


@dataclass
class FewShotConfig(ShotsConfig):
    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n >= 1, "n must be at least 1; without examples, use prompting=zero_shot")


@plugin(FewShotConfig)
class FewShot(Prompting[FewShotConfig]):
    """Fixed, random or similar examples, as text or as turns."""

    def __init__(self, config: FewShotConfig, examples: Examples) -> None:
        super().__init__(config, examples)
        self.shots = Shots(config, examples)
        self.stop = self.shots.stop

    def prompt(self, case: Case[Prompt]) -> str | Chat:
        return self.shots.prompt(case)
