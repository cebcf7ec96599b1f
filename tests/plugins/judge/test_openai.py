import math
from pathlib import Path
from typing import Any

import pytest
import tiny
from servers import StubServer, stub_server

from etude.config.registry import build, load
from etude.config.schema.judge import QUESTION
from etude.errors import ServerError
from etude.rl.judge import Comparison

load("judge/openai")
from etude.plugins.judge.openai import verdict  # noqa: E402 -- once it is loaded

LONGER = [Comparison("?", "long one", "short"), Comparison("?", "short", "long one")]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of replies."""
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path))
    return tmp_path


def judge(stub: StubServer, **values: Any) -> Any:  # the plugin's class
    values = {"model": "m", "retries": 0, "question": "{prompt}|{first}|{second}"} | values
    return build(tiny.part("judge", "openai", url=stub.url, **values))


def reply(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}], "usage": {"total_tokens": 10}}


def prefers_longer(body: Any) -> dict[str, Any]:
    _, first, second = body["messages"][0]["content"].split("|")
    return reply("A" if len(first) > len(second) else "The better one is B.")


def test_it_is_asked_in_both_orders_at_temperature_0() -> None:
    with stub_server(prefers_longer) as stub:
        assert judge(stub)(LONGER[:1]) == [1.0]
        assert judge(stub)(LONGER[1:]) == [0.0]
    questions = {item["messages"][0]["content"] for item in stub.requests}
    assert questions == {"?|long one|short", "?|short|long one"}
    assert {item["temperature"] for item in stub.requests} == {0}


@pytest.mark.parametrize(
    ("text", "wanted"), [("A", 0.5), ("B", 0.5), ("C", math.nan), ("x", math.nan)]
)
def test_position_bias_makes_a_tie_and_an_unclear_reply_no_verdict(
    text: str, wanted: float
) -> None:
    with stub_server(lambda body: reply(text)) as stub:
        assert judge(stub)(LONGER) == pytest.approx([wanted] * 2, nan_ok=True)


def test_a_verdict_names_exactly_one_letter() -> None:
    letters = {"A": 1.0, " b, no: B.": 0.0, "[[C]]": 0.5, "**A**": 1.0, "Answer: A\n": 1.0}
    letters |= {"A is better.": 1.0, "Answer B, since it is shorter": 0.0, "(B)": 0.0}
    assert {text: verdict(text, "A, B or C?") for text in letters} == letters
    for text in ("", "A or B", "ABBA", "neither", "BA", "A's"):
        assert math.isnan(verdict(text, "A, B or C?")), text


@pytest.mark.parametrize(
    "text",
    ["The C++ answer is better", "use C#", "a B-tree", "A/B", "A good answer is short", "C.f. it"],
)
def test_a_letter_inside_another_word_or_an_article_is_no_verdict(text: str) -> None:
    assert math.isnan(verdict(text, "A, B or C?"))


def test_a_letter_that_the_question_does_not_offer_is_no_verdict() -> None:
    assert math.isnan(verdict("Vitamin C", QUESTION))
    assert verdict("C", "A or B; C for a tie") == 0.5


def test_replies_are_cached_for_each_model() -> None:
    with stub_server(prefers_longer) as stub:
        first = judge(stub)(LONGER)
        assert stub.n_requests == 2  # both comparisons ask the same two questions
        assert judge(stub)(LONGER) == first
        assert stub.n_requests == 2
        judge(stub, model="another")(LONGER)
        assert stub.n_requests == 4


@pytest.mark.parametrize(("budget", "n_requests"), [({"max_calls": 2}, 2), ({"max_tokens": 15}, 2)])
def test_pairs_beyond_the_budget_have_no_verdict_until_a_larger_one_continues(
    budget: dict[str, int], n_requests: int
) -> None:
    pairs = [Comparison(str(i), "long", "x") for i in range(3)]
    with stub_server(prefers_longer) as stub:
        verdicts = judge(stub, parallel=1, **budget)(pairs)
        assert verdicts == pytest.approx([1.0, math.nan, math.nan], nan_ok=True)
        assert stub.n_requests == n_requests
        assert judge(stub, parallel=1)(pairs) == [1.0] * 3
        assert stub.n_requests == 6


def test_the_key_is_sent_and_never_cached(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    with stub_server(prefers_longer) as stub:
        judge(stub, key_variable="JUDGE_KEY")(LONGER)
    assert set(stub.keys) == {"Bearer s3cret"}
    cached = [file.read_text(encoding="utf-8") for file in empty_cache.rglob("*.json")]
    assert len(cached) == 2
    assert not any("s3cret" in text or "long one" in text for text in cached)


def test_a_malformed_response_is_an_error() -> None:
    for response in ({}, [], {"choices": []}, {"choices": [{"text": "A"}]}):
        with (
            stub_server(lambda body, response=response: response) as stub,
            pytest.raises(ServerError, match=r"has no choices\[0\]"),
        ):
            judge(stub)(LONGER)


def test_a_question_without_both_answers_and_an_empty_budget_are_refused() -> None:
    with pytest.raises(ValueError, match=r"question must contain"):
        tiny.part("judge", "openai", question="{prompt} {first}")
    with pytest.raises(ValueError, match=r"question must contain \{prompt\}"):
        tiny.part("judge", "openai", question="{prompt} {first} {second} {other}")
    with pytest.raises(ValueError, match="max_calls must be at least 1"):
        tiny.part("judge", "openai", max_calls=0)
