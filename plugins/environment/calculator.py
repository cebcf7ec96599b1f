"""A calculator that the policy calls in its text: `<calc>12*34</calc>` is followed by the result.

The first tool of Toolformer (Schick et al. 2023, https://arxiv.org/abs/2302.04761, section 3).
Integers are exact, of any length up to the limits; other results have 10 significant digits. An
input that is not arithmetic, or too large, has the result `error`. Nothing is executed: the input
is parsed, and only numbers and operators are evaluated.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etude import plugin
from etude.objective import State

from ._inline_tool import InlineTool, InlineToolConfig

MAX_CHARS = 200
"""Longest input that is evaluated, in characters."""
MAX_BITS = 2000
"""Largest power that is evaluated, in bits."""
ERROR = "error"
BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
UNARY: Mapping[type, Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


@dataclass
class CalculatorConfig(InlineToolConfig):
    opening: str = "<calc>"
    """Text before the input of a call."""
    closing: str = "</calc>"
    """Text after the input; it ends the turn."""


class NotArithmeticError(ValueError):
    """An input with anything but numbers and operators, or a power that is too large."""


def evaluate(node: ast.expr) -> int | float:
    """Returns the value of a parsed expression. Raises NotArithmeticError, or as Python does."""
    match node:
        case ast.Constant(int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op, operand) if type(op) in UNARY:
            return UNARY[type(op)](evaluate(operand))
        case ast.BinOp(left, op, right) if type(op) in BINARY:
            a, b = evaluate(left), evaluate(right)
            if isinstance(op, ast.Pow) and not is_small_power(a, b):
                raise NotArithmeticError
            return BINARY[type(op)](a, b)
        case _:
            raise NotArithmeticError


def is_small_power(base: int | float, exponent: int | float) -> bool:
    """Whether base ** exponent is real and has at most about MAX_BITS bits."""
    is_real = base >= 0 or exponent % 1 == 0
    n_bits = abs(int(base)).bit_length() + 1
    return is_real and exponent >= 0 and n_bits * exponent <= MAX_BITS


def calculate(text: str) -> str:
    """Returns the result of an input as text, or `error`."""
    try:
        if len(text) > MAX_CHARS:
            raise NotArithmeticError
        with warnings.catch_warnings(action="ignore"):  # of the parser, such as for `1if`
            value = evaluate(ast.parse(text.strip(), mode="eval").body)
        if isinstance(value, int):
            return str(value)
        if not math.isfinite(value):
            raise NotArithmeticError
        return f"{value:.10g}"
    except (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError):
        return ERROR


@plugin(CalculatorConfig)
class Calculator(InlineTool[CalculatorConfig]):
    """Replies to a call with the value of its input."""

    def call(self, text: str) -> str:
        return calculate(text)

    def example(self, state: State) -> Sequence[str]:
        return self.example_of("12*34")
