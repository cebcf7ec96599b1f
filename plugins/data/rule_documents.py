"""Documents of solved questions that share a rule, which is not named: `4821: 1284`, a line each.

The rule of a document has to be inferred from its lines, in context, as the functions of Garg et
al. 2022, https://arxiv.org/abs/2208.01066. `data=rule_questions` asks single questions of one rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from etude import Text, plugin, require
from etude.config import TextDataConfig
from etude.data import DataSource

from ._rules import Rule, questions


@dataclass
class RuleDocumentsConfig(TextDataConfig):
    n_documents: int = 10_000
    """Number of documents."""
    n_lines: int = 8
    """Questions with answers in each document, at least 1."""
    size: int = 4
    """Digits of a question, at least 1."""
    problem_seed: int = 0
    """Seed that selects rules and digits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_documents", "n_lines", "size"):
            value = vars(self)[name]
            require(value >= 1, f"{name} must be at least 1, got {value}")


@plugin(RuleDocumentsConfig, yields=Text)
class RuleDocuments(DataSource[RuleDocumentsConfig]):
    """A random rule for each document; all are equally likely."""

    def records(self) -> Iterator[Text]:
        config, draw = self.config, Random(self.config.problem_seed)
        for _ in range(config.n_documents):
            rule = draw.choice(list(Rule))
            lines = islice(questions(rule, config.size, draw), config.n_lines)
            yield Text("".join(f"{one.prompt} {one.answer}\n" for one in lines))

    def fingerprint(self) -> str:
        return ""
