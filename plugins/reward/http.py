"""Scores from a server: any program that answers a POST request, in any language.

The request is {"prompts": [...], "completions": [...], "references": [...]}; the response is
{"scores": [...]}: a number for each completion, or null for no verdict. The reference of a prompt
without one is null.
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
    """URL of the scoring endpoint, such as http://localhost:8000/score."""
    timeout_s: float = 60.0
    """Seconds to wait for a response."""
    retries: int = 3
    """Retries after a transient failure."""
    batch: int = 64
    """Completions per request."""
    key_variable: str | None = None
    """Environment variable with the API key, sent as a bearer token; null = no key is sent."""

    def __post_init__(self) -> None:
        check_server(self.url, self.timeout_s, self.retries)
        require(self.batch >= 1, f"batch must be at least 1, got {self.batch}")


@plugin(HttpRewardConfig)
class HttpReward:
    """Raises ServerError for a malformed response; it never becomes a score."""

    def __init__(self, config: HttpRewardConfig) -> None:
        self.config = config
        self.server = Server(config.url, config.timeout_s, config.retries, config.key_variable)

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], references: Sequence[str | None]
    ) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(completions), self.config.batch):
            part = slice(start, start + self.config.batch)
            request = {
                "prompts": list(prompts[part]),
                "completions": list(completions[part]),
                "references": list(references[part]),
            }
            scores += self._scores(self.server.post(request), len(request["completions"]))
        return scores

    def _scores(self, response: Any, n: int) -> list[float]:
        """The scores in a response; Any, because a server may send anything."""
        scores = response.get("scores") if isinstance(response, dict) else None
        if not isinstance(scores, list) or len(scores) != n or not all(map(is_score, scores)):
            raise ServerError(
                f"{self.config.url} must respond with {n} scores, each a number or null: "
                f'{{"scores": [...]}}. It responded {str(response)[:200]}.'
            )
        return [math.nan if score is None else float(score) for score in scores]


def is_score(value: Any) -> bool:
    """Whether a JSON value is a score: a finite number, or null for no verdict."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and math.isfinite(value))
