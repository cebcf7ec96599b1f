import math
from typing import Any

import pytest
import tiny
from servers import listening

from etude.config.registry import build
from etude.errors import ServerError

TEXTS = (["1+1", "2+2", "why?"], ["2", "5", "so"], ["2", "4", None])


def reward(url: str, **values: Any) -> Any:  # the plugin's class
    return build(tiny.part("reward", "http", url=url, retries=0, **values))


def judge(asked: dict[str, list[Any]]) -> dict[str, list[float | None]]:
    pairs = zip(asked["completions"], asked["references"], strict=True)
    return {"scores": [None if wanted is None else float(c == wanted) for c, wanted in pairs]}


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_the_servers_scores_come_back_in_order_and_null_is_no_verdict(batch: int) -> None:
    with listening(judge) as stub:
        scores = reward(stub.url, batch=batch)(*TEXTS)
    assert scores[:2] == [1.0, 0.0]
    assert math.isnan(scores[2])
    assert sum(len(asked["prompts"]) for asked in stub.asked) == 3
    assert set(stub.asked[0]) == {"prompts", "completions", "references"}


@pytest.mark.parametrize(
    "said",
    [{}, [], {"scores": 1}, {"scores": [1, 2]}, {"scores": [1, "2", 3]}, {"scores": [1, True, 0]}],
)
def test_an_answer_in_another_form_is_an_error_and_no_score(said: Any) -> None:
    with (
        listening(lambda asked: said) as stub,
        pytest.raises(ServerError, match="must answer with 3 scores"),
    ):
        reward(stub.url)(*TEXTS)


def test_a_config_that_could_not_work_is_refused() -> None:
    with pytest.raises(ValueError, match="url must begin with http"):
        reward("localhost:8000")
    with pytest.raises(ValueError, match="batch must be at least 1"):
        reward("http://localhost", batch=0)
