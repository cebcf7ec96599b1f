"""1 for a completion whose code is valid Python, 0 for any other.

The code is the last fenced block, or the whole completion if there is none. It is parsed, never
run. A single word or number is valid Python but not a program, and scores 0.
"""

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from etude import plugin
from etude.config import RewardConfig
from etude.rl import Bench, Verifier, code_of


@dataclass
class PythonParsesConfig(RewardConfig):
    """No knobs."""


def is_program(code: str) -> bool:
    """Whether the code parses and does more than evaluate a name or a constant."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is still Python
            statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(not _is_idle(statement) for statement in statements)


def _is_idle(statement: ast.stmt) -> bool:
    values = ast.Constant | ast.Name | ast.Tuple | ast.UnaryOp
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, values)
    )


@plugin(PythonParsesConfig)
class PythonParses(Verifier[PythonParsesConfig]):
    """Checks the code with ast.parse."""

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        return [float(is_program(code_of(completion))) for completion in completions]

    def bench(self) -> list[Bench]:
        program = "def double(x):\n    return 2 * x\n"
        return [
            Bench(
                None,
                right=[program, f"Here:\n```python\n{program}```\nIt doubles.", "x = 1", "f(1)"],
                wrong=["def f(:", "It doubles x.", "return x +", "if x:\npass"],
                malformed=["", " \n", "```python\n```", "\0", "('" * 300, "(" * 9000],
                adversarial=[
                    "# double",
                    '"""double"""',
                    "double",
                    "42",
                    "-1, 2",
                    "pass",
                    "...",
                    f"```python\n{program}```\n```python\nBut no.\n```",
                ],
            )
        ]
