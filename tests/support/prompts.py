"""Cases and prompting plugins for tests."""

from typing import Any

from defaults import default

from etude.config.registry import build
from etude.evaluation.item import Case, cases_of
from etude.evaluation.prompting import Examples
from etude.records import Chat, Prompt

SUMS = [Prompt(f"{a} + {b} =", str(a + b)) for a in range(10, 15) for b in range(20, 24)]
CHINESE = [
    Prompt("北京是哪个国家的首都？", "中国"),
    Prompt("东京是哪个国家的首都？", "日本"),
    Prompt("水的化学式是什么？", "H2O"),
    Prompt("盐的化学式是什么？", "NaCl"),
]


def prompting(name: str, records: list[Prompt], *, seed: int = 0, **values: Any) -> Any:
    """A prompting plugin with these questions as its examples."""
    return build(default(f"prompting/{name}", **values), Examples(cases(records), seed))


def cases(records: list[Prompt]) -> list[Case[Any]]:
    """The records as cases, in the order of their ids."""
    return cases_of(records)


def case(prompt: str | Chat, answer: str | None = "?") -> Case[Any]:
    """A case with this question."""
    return cases_of([Prompt(prompt, answer)])[0]
