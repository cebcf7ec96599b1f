import math
from pathlib import Path
from typing import Any

import pytest
import tiny
from servers import Stub, listening

from etude.config.registry import build, load
from etude.errors import ServerError
from etude.rl.judge import Comparison

load("judge/openai")
from etude.plugins.judge.openai import verdict  # noqa: E402 -- once it is loaded

LONGER = [Comparison("?", "long one", "short"), Comparison("?", "short", "long one")]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing has been asked before."""
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path))
    return tmp_path


def judge(stub: Stub, **values: Any) -> Any:  # the plugin's class
    values = {"model": "m", "retries": 0, "question": "{prompt}|{first}|{second}"} | values
    return build(tiny.part("judge", "openai", url=stub.url, **values))


def reply(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}], "usage": {"total_tokens": 10}}


def prefers_longer(asked: Any) -> dict[str, Any]:
    _, first, second = asked["messages"][0]["content"].split("|")
    return reply("A" if len(first) > len(second) else "The better one is B.")


def test_it_is_asked_in_both_orders_at_temperature_0() -> None:
    with listening(prefers_longer) as stub:
        assert judge(stub)(LONGER[:1]) == [1.0]
        assert judge(stub)(LONGER[1:]) == [0.0]
    asked = {item["messages"][0]["content"] for item in stub.asked}
    assert asked == {"?|long one|short", "?|short|long one"}
    assert {item["temperature"] for item in stub.asked} == {0}


@pytest.mark.parametrize(("says", "wanted"), [("A", 0.5), ("B", 0.5), ("C", 0.5), ("x", math.nan)])
def test_a_judge_that_favours_a_place_makes_a_tie_and_one_that_babbles_no_verdict(
    says: str, wanted: float
) -> None:
    with listening(lambda asked: reply(says)) as stub:
        assert judge(stub)(LONGER) == pytest.approx([wanted] * 2, nan_ok=True)


def test_a_verdict_names_exactly_one_letter() -> None:
    letters = {"A": 1.0, " b, no: B.": 0.0, "[[C]]": 0.5, "**A**": 1.0, "Answer: A\n": 1.0}
    assert {text: verdict(text) for text in letters} == letters
    for text in ("", "A or B", "ABBA", "neither", "BA", "A's"):
        assert math.isnan(verdict(text)), text


def test_what_was_asked_before_costs_nothing_and_another_model_is_asked_anew() -> None:
    with listening(prefers_longer) as stub:
        first = judge(stub)(LONGER)
        assert stub.n_asked == 2  # both comparisons ask the same two questions
        assert judge(stub)(LONGER) == first
        assert stub.n_asked == 2
        judge(stub, model="another")(LONGER)
        assert stub.n_asked == 4


@pytest.mark.parametrize(("budget", "n_asked"), [({"max_calls": 2}, 2), ({"max_tokens": 15}, 2)])
def test_a_spent_budget_leaves_pairs_undecided_and_a_larger_one_goes_on(
    budget: dict[str, int], n_asked: int
) -> None:
    pairs = [Comparison(str(i), "long", "x") for i in range(3)]
    with listening(prefers_longer) as stub:
        said = judge(stub, parallel=1, **budget)(pairs)
        assert said == pytest.approx([1.0, math.nan, math.nan], nan_ok=True)
        assert stub.n_asked == n_asked
        assert judge(stub, parallel=1)(pairs) == [1.0] * 3
        assert stub.n_asked == 6


def test_the_key_is_sent_and_never_kept(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    with listening(prefers_longer) as stub:
        judge(stub, key_variable="JUDGE_KEY")(LONGER)
    assert set(stub.keys) == {"Bearer s3cret"}
    kept = [file.read_text(encoding="utf-8") for file in empty_cache.rglob("*.json")]
    assert len(kept) == 2
    assert not any("s3cret" in text or "long one" in text for text in kept)


def test_an_answer_in_another_form_is_an_error() -> None:
    for said in ({}, [], {"choices": []}, {"choices": [{"text": "A"}]}):
        with (
            listening(lambda asked, said=said: said) as stub,
            pytest.raises(ServerError, match=r"without choices\[0\]"),
        ):
            judge(stub)(LONGER)


def test_a_question_that_hides_an_answer_and_a_budget_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"question must show each"):
        tiny.part("judge", "openai", question="{prompt} {first}")
    with pytest.raises(ValueError, match=r"question must name \{prompt\}"):
        tiny.part("judge", "openai", question="{prompt} {first} {second} {other}")
    with pytest.raises(ValueError, match="max_calls must be at least 1"):
        tiny.part("judge", "openai", max_calls=0)
