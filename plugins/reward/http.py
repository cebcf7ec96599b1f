"""The scores of a server: any program that answers a POST, in any language, on any machine.

It is sent {"prompts": [...], "completions": [...], "references": [...]} and answers
{"scores": [...]}: a number for each completion, or null where it has no verdict. References are
null where a prompt has none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from etude import ServerError, plugin, require
from etude.config import RewardConfig
from etude.rl import Server, check_server


@dataclass
class HttpRewardConfig(RewardConfig):
    url: str = MISSING
    """Where to ask, such as http://localhost:8000/score."""
    timeout_s: float = 60.0
    """Seconds to wait for an answer."""
    retries: int = 3
    """Times that a question is asked again after a failure that may pass."""
    batch: int = 64
    """Completions sent at once."""
    key_variable: str | None = None
    """Environment variable that holds a key, sent as a bearer token; null = none is sent."""

    def __post_init__(self) -> None:
        check_server(self.url, self.timeout_s, self.retries)
        require(self.batch >= 1, f"batch must be at least 1, got {self.batch}")


@plugin(HttpRewardConfig)
class HttpReward:
    """An answer in another form is an error, never a score."""

    def __init__(self, config: HttpRewardConfig) -> None:
        self.config = config
        self.server = Server(config.url, config.timeout_s, config.retries, config.key_variable)

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(completions), self.config.batch):
            part = slice(start, start + self.config.batch)
            asked = {
                "prompts": list(prompts[part]),
                "completions": list(completions[part]),
                "references": list(references[part]),
            }
            scores += self._scores(self.server.ask(asked), len(asked["completions"]))
        return scores

    def _scores(self, answer: Any, n: int) -> list[float]:
        """What the answer says; Any, for it is whatever a server sends."""
        scores = answer.get("scores") if isinstance(answer, dict) else None
        if not isinstance(scores, list) or len(scores) != n or not all(map(is_score, scores)):
            raise ServerError(
                f"{self.config.url} must answer with {n} scores, each a number or null: "
                f'{{"scores": [...]}}. It said {str(answer)[:200]}.'
            )
        return [math.nan if score is None else float(score) for score in scores]


def is_score(value: Any) -> bool:
    """Whether a JSON value is a score: a finite number, or null for no verdict."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and math.isfinite(value))
