r"""1 for a completion whose answer is mathematically equal to the reference, 0 for any other.

Uses math-verify (https://github.com/huggingface/Math-Verify): the last \boxed{}, formula or number
of the completion is parsed and compared with sympy, so that 1/2, 0.5 and \frac{1}{2} are equal. A
reference that cannot be parsed gives no verdict; a completion that takes too long is wrong.
"""

import logging
import math
from dataclasses import dataclass

from etude import plugin, require
from etude.config import RewardConfig
from etude.rl import AnswerVerifier, Bench


@dataclass
class MathConfig(RewardConfig):
    timeout_s: int = 5
    """Time limit for parsing or comparing an answer, in seconds; beyond it, the answer is wrong."""

    def __post_init__(self) -> None:
        require(self.timeout_s >= 1, f"timeout_s must be at least 1, got {self.timeout_s}")


@plugin(MathConfig, extra="math_verify")
class Math(AnswerVerifier[MathConfig]):
    """Must run in the main thread, because math-verify uses its alarm signal."""

    def __init__(self, config: MathConfig) -> None:
        super().__init__(config)
        logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # unparseable answers are wrong

    def score(self, completion: str, reference: str) -> float:
        from math_verify import parse, verify  # sympy takes a second to load

        limit = self.config.timeout_s
        is_marked = "$" in reference or "\\" in reference
        gold = parse(reference if is_marked else f"${reference}$", parsing_timeout=limit)
        if not gold:
            return math.nan
        answer = parse(completion, parsing_timeout=limit)
        return float(bool(answer) and verify(gold, answer, timeout_seconds=limit))

    def bench(self) -> list[Bench]:
        return [
            Bench(
                r"\frac{1}{2}",
                right=[r"So \boxed{\frac{1}{2}}.", "The answer is 0.5", "$1/2$", r"$\frac{2}{4}$"],
                wrong=["$2$", r"\boxed{\frac{1}{3}}", "-1/2", "1, 2"],
                malformed=["", r"\boxed{", "$", "half of it", r"\frac{1}{"],
                adversarial=[
                    r"\boxed{\frac{1}{2}} or \boxed{\frac{1}{3}}",
                    r"$\frac{1}{2}$ is wrong; the answer is $3$",
                    r"\boxed{}",
                    r"\boxed{x}",
                    r"$\frac{1}{2} \ne 1$",
                    r"$\{\frac{1}{2}, 1\}$",
                ],
            ),
            Bench("x^2 + 1", right=["$1 + x^2$"], wrong=["$x^2$"], malformed=["x"]),
        ]
