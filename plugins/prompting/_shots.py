"""Solved examples in front of a question: which ones, and how they are written.

Brown et al. 2020 (GPT-3), https://arxiv.org/abs/2005.14165, section 2. Similar examples, the
nearest one last: Liu et al. 2022, https://arxiv.org/abs/2101.06804, who compare sentence vectors;
here TF-IDF of character n-grams, which needs no model.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from etude import Chat, DataError, Message, Prompt, only_with, require
from etude.config import PromptingConfig
from etude.evaluation import Case, Examples

from ._similarity import Similarity

QUESTION = "{question}"
ANSWER = "{answer}"
EXAMPLES = 1
"""Key of the random numbers that select examples."""


class Selection(Enum):
    """Which examples are shown."""

    fixed = "fixed"
    random = "random"
    similar = "similar"


class Nearest(Enum):
    """Where the most similar example is shown."""

    last = "last"
    first = "first"


class Form(Enum):
    """How examples are written."""

    text = "text"
    turns = "turns"


@dataclass
class ShotsConfig(PromptingConfig):
    """Base config of the plugins that can show examples."""

    n: int = 4
    """Solved examples in front of the question. Typical: 0-8."""
    select: Selection = only_with("n>0", Selection.fixed)
    """fixed = the same ones for every question; random = other ones for each question, decided by
    seed; similar = those most like the question, by TF-IDF of character n-grams."""
    ids: list[str] = only_with("select=fixed", [])
    """The ids of the first examples, as in a result file of split=train, or how they begin; up to
    n, the rest are the first ones in the order of ids."""
    nearest: Nearest = only_with("select=similar", Nearest.last)
    """Where the example most like the question is: last (next to it) or first."""
    form: Form = only_with("n>0", Form.text)
    """text = one text, which base models continue; turns = messages of a user and an assistant,
    for models with a chat template."""
    layout: str = "{question}\n{answer}\n\n"
    """An example, with {question} and {answer}; the prompt ends with the part before {answer}. The
    part after it ends a completion if examples are shown as text."""

    def __post_init__(self) -> None:
        require(self.n >= 0, f"n must be 0 or more, got {self.n}")
        parts = [self.layout.count(part) for part in (QUESTION, ANSWER)]
        require(
            parts == [1, 1] and self.layout.index(QUESTION) < self.layout.index(ANSWER),
            f"layout must contain {QUESTION} and then {ANSWER}, each once, got {self.layout!r}",
        )
        require(
            len(self.ids) <= max(self.n, 1),  # with n=0, that ids have no effect is the error
            f"ids must be at most n={self.n} ids, got {len(self.ids)} of them",
        )

    @property
    def shows_examples(self) -> bool:
        return self.n > 0


@dataclass
class StepsConfig(ShotsConfig):
    """Base config of the plugins that ask for the steps of an answer."""

    n: int = 0
    """Examples in front of the question, whose answers contain their steps. Typical: 0-8."""
    cue: str = "Let's think step by step."
    """Sentence that begins each answer, such as 让我们一步一步地思考。; empty = none,
    if the answers of examples show that steps are wanted."""


class Shots:
    """Writes prompts with examples, and a sentence that begins each answer."""

    def __init__(self, config: ShotsConfig, examples: Examples, cue: str = "") -> None:
        """Raises DataError if there are too few examples, or none with one of the ids."""
        self.config, self.cue = config, cue
        self.seed = examples.seed
        solved = (case for case in examples.cases if case.record.answer is not None)
        self.cases = sorted(solved, key=lambda case: case.id)
        if config.ids:
            chosen = [self._with_id(start) for start in config.ids]
            self.cases = [*chosen, *(case for case in self.cases if case not in chosen)]
        self.before, _, self.after = config.layout.partition(ANSWER)
        self.similarity = None
        if config.n and config.select is Selection.similar:
            self.similarity = Similarity([str(case.record.prompt) for case in self.cases])

    @property
    def stop(self) -> Sequence[str]:
        """The text after an example: a base model would go on with another question."""
        is_text = self.config.n > 0 and self.config.form is Form.text
        return (self.after,) if is_text and self.after else ()

    def prompt(self, case: Case[Prompt]) -> str | Chat:
        """Returns the examples, the question and the sentence that begins the answer."""
        question, shown = case.record.prompt, self._shown(case)
        if isinstance(question, str) and self.config.form is Form.text:
            return "".join(map(self._example, shown)) + self._opening(question)
        if shown and self.config.form is Form.text:
            raise DataError(
                f"The question {str(question)[:60]!r} is a conversation, which prompting.form=text "
                "cannot write.\n  Use prompting.form=turns."
            )
        turns = [turn for one in shown for turn in self._turns(one)]
        asked = self._asked(question)
        system = [one for one in asked if one.role == "system"]
        rest = [one for one in asked if one.role != "system"]
        return Chat((*system, *turns, *rest), question.tools if isinstance(question, Chat) else ())

    def _shown(self, case: Case[Prompt]) -> Sequence[Prompt]:
        """Returns the examples of a question, which is never one of them."""
        others = [one.record.prompt != case.record.prompt for one in self.cases]
        order = [i for i in self._order(case) if others[i]][: self.config.n]
        if len(order) < self.config.n:
            raise DataError(
                f"prompting.n={self.config.n}, but the training split has only {len(order)} other "
                "questions with an answer.\n  Use a smaller prompting.n, or more data."
            )
        if self.similarity and self.config.nearest is Nearest.last:
            order.reverse()
        return [self.cases[i].record for i in order]

    def _order(self, case: Case[Prompt]) -> Sequence[int]:
        """Returns the indices of the examples, those to prefer first."""
        if self.similarity:
            cosines = self.similarity.to(str(case.record.prompt)).round(9)
            return (-cosines).argsort(kind="stable").tolist()
        if self.config.n and self.config.select is Selection.random:
            return case.rng(self.seed, EXAMPLES).permutation(len(self.cases)).tolist()
        return range(len(self.cases))

    def _with_id(self, start: str) -> Case[Prompt]:
        found = [case for case in self.cases if case.id.startswith(start)]
        if len(found) != 1:
            raise DataError(
                f"prompting.ids: {len(found)} questions with an answer in the training split have "
                f"an id that begins with {start!r}.\n  Result files of split=train list ids."
            )
        return found[0]

    def _opening(self, question: str) -> str:
        """Returns a question and the beginning of its answer."""
        return f"{self.before.replace(QUESTION, question)}{self.cue}".rstrip(" ")

    def _example(self, example: Prompt) -> str:
        if isinstance(example.prompt, Chat):
            raise DataError(
                f"The example {str(example.prompt)[:60]!r} is a conversation, which "
                "prompting.form=text cannot write.\n  Use prompting.form=turns."
            )
        opening = self.before.replace(QUESTION, example.prompt)
        return f"{opening}{joined(self.cue, example.answer or '')}{self.after}"

    def _turns(self, example: Prompt) -> Iterator[Message]:
        yield from (one for one in self._asked(example.prompt) if one.role != "system")
        yield Message("assistant", example.answer or "")

    def _asked(self, question: str | Chat) -> Sequence[Message]:
        """Returns the messages of a question; the last one asks for what begins the answer."""
        messages = question.messages if isinstance(question, Chat) else (Message("user", question),)
        last = replace(messages[-1], content=self._opening(messages[-1].content).rstrip())
        return (*messages[:-1], last)


def joined(cue: str, answer: str) -> str:
    """Returns two sentences in a row, with a space if their script has spaces."""
    has_space = bool(cue) and unicodedata.east_asian_width(cue[-1]) not in "WF"
    return f"{cue}{' ' * has_space}{answer}"
