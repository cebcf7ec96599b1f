"""A judge behind an OpenAI-compatible endpoint: a hosted model, vLLM, llama.cpp or Ollama.

Zheng et al. 2023 (LLM as a judge), https://arxiv.org/abs/2306.05685: pairwise comparison at
temperature 0, in both orders. Replies are cached on disk, so that a repeated question costs
nothing. A comparison has no verdict if the reply names neither answer or both, or if the budget is
spent.
"""

import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

from omegaconf import MISSING

from etude import ServerError, plugin, require
from etude.config import QUESTION, JudgeConfig
from etude.rl import AnswerCache, Comparison, Server, check_question, check_server, in_both_orders

LETTER = re.compile(
    r"(?<![\w+#&/'’.-])"
    r"(?:A(?! (?!(?:is|wins|was|has|gives|does|because|since|as|and|or|over|than)\b)[a-z])|[BC])"
    r"(?![\w+#&/'’-]|\.\w)"
)
"""A letter that stands as a word: not of C++, B-tree or A/B, and not the article "A"."""
VERDICTS = {"A": 1.0, "B": 0.0, "C": 0.5}
"""Score of the first answer for each letter; C is a tie, if the question offers it."""


@dataclass
class OpenaiJudgeConfig(JudgeConfig):
    url: str = MISSING
    """Base URL of the API, such as http://localhost:8000/v1."""
    model: str = MISSING
    """Name of the model on the server."""
    key_variable: str | None = None
    """Environment variable with the API key, such as OPENAI_API_KEY; null = no key is sent."""
    question: str = QUESTION
    """Prompt template with {prompt}, {first} and {second}; the reply is A, B, or C for a tie."""
    reply_tokens: int = 16
    """Maximum reply length in tokens; a model that reasons first needs hundreds."""
    max_calls: int = 10_000
    """Maximum calls per command; each comparison takes two."""
    max_tokens: int = 10_000_000
    """Token budget, as counted by the server; once it is spent, no further call is made."""
    parallel: int = 4
    """Concurrent calls; max_tokens may be exceeded by the tokens of these."""
    timeout_s: float = 120.0
    """Seconds to wait for a reply."""
    retries: int = 3
    """Retries after a transient failure."""

    def __post_init__(self) -> None:
        check_server(self.url, self.timeout_s, self.retries)
        check_question(self.question)
        for name, value in (
            ("reply_tokens", self.reply_tokens),
            ("max_calls", self.max_calls),
            ("max_tokens", self.max_tokens),
            ("parallel", self.parallel),
        ):
            require(value >= 1, f"{name} must be at least 1, got {value}")


def verdict(reply: str, question: str) -> float:
    """Score of the first answer in a reply; NaN unless it names one letter that is offered."""
    letters = set(LETTER.findall(reply)) & {"A", "B", *LETTER.findall(question)}
    return VERDICTS[letters.pop()] if len(letters) == 1 else math.nan


@plugin(OpenaiJudgeConfig)
class OpenaiJudge:
    """1, 0, 0.5 if the orders disagree or both tie, 0.75 or 0.25 if one of them ties."""

    def __init__(self, config: OpenaiJudgeConfig) -> None:
        self.config = config
        url = f"{config.url.rstrip('/')}/chat/completions"
        self.server = Server(url, config.timeout_s, config.retries, config.key_variable)
        self.cache = AnswerCache()
        self.lock = Lock()
        self.n_calls = self.n_tokens = 0

    def __call__(self, comparisons: Sequence[Comparison]) -> list[float]:
        return in_both_orders(self._ask, comparisons)

    def _ask(self, comparisons: Sequence[Comparison]) -> list[float]:
        questions = [comparison.format_question(self.config.question) for comparison in comparisons]
        unique = list(dict.fromkeys(questions))
        with ThreadPoolExecutor(self.config.parallel) as pool:
            verdicts = dict(zip(unique, pool.map(self._verdict, unique), strict=True))
        return [verdicts[question] for question in questions]

    def _verdict(self, question: str) -> float:
        config = self.config
        request = {
            "model": config.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": config.reply_tokens,
            "temperature": 0,
        }
        reply = self.cache.get([self.server.url, request])
        if reply is None:
            if not self._may_call():
                return math.nan
            reply = self._reply(self.server.post(request))
            self.cache.put([self.server.url, request], reply)
        return verdict(reply, self.config.question)

    def _may_call(self) -> bool:
        with self.lock:
            may_call = self.n_calls < self.config.max_calls
            may_call = may_call and self.n_tokens < self.config.max_tokens
            self.n_calls += may_call
            return may_call

    def _reply(self, response: Any) -> str:
        """The text of a response; Any, because a server may send anything."""
        try:
            tokens = (response.get("usage") or {}).get("total_tokens") or 0
            with self.lock:
                self.n_tokens += int(tokens)
            return str(response["choices"][0]["message"]["content"] or "")
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(
                f"The response of {self.server.url} has no choices[0].message.content: "
                f"{str(response)[:200]}."
            ) from error
