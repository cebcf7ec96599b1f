"""Asks for the steps of an answer, which the scorer reads at their end.

Without examples: Kojima et al. 2022, https://arxiv.org/abs/2205.11916, whose second prompt
("Therefore, the answer is") is replaced by the scorer's rule, such as the last number. With
examples whose answers contain the steps: Wei et al. 2022, https://arxiv.org/abs/2201.11903; there
prompting.cue is empty.
"""

from dataclasses import dataclass

from etude import Chat, Prompt, plugin, require
from etude.evaluation import Case, Examples, Prompting

from ._shots import Shots, StepsConfig


@dataclass
class ChainOfThoughtConfig(StepsConfig):
    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.n > 0 or self.cue != "",
            "n=0 and an empty cue ask for no steps: set n or cue, or use prompting=zero_shot",
        )


@plugin(ChainOfThoughtConfig)
class ChainOfThought(Prompting[ChainOfThoughtConfig]):
    """A sentence that begins the steps, examples with steps, or both."""

    def __init__(self, config: ChainOfThoughtConfig, examples: Examples) -> None:
        super().__init__(config, examples)
        self.shots = Shots(config, examples, config.cue)
        self.stop = self.shots.stop

    def prompt(self, case: Case[Prompt]) -> str | Chat:
        return self.shots.prompt(case)
