import math
from typing import Any

import pytest
import tiny
from servers import stub_server

from etude.config.registry import build
from etude.errors import ServerError

TEXTS = (["1+1", "2+2", "why?"], ["2", "5", "so"], ["2", "4", None])


def reward(url: str, **values: Any) -> Any:  # the plugin's class
    return build(tiny.part("reward", "http", url=url, retries=0, **values))


def answer(body: dict[str, list[Any]]) -> dict[str, list[float | None]]:
    pairs = zip(body["completions"], body["references"], strict=True)
    return {"scores": [None if wanted is None else float(c == wanted) for c, wanted in pairs]}


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_scores_are_returned_in_order_and_null_is_no_verdict(batch: int) -> None:
    with stub_server(answer) as stub:
        scores = reward(stub.url, batch=batch)(*TEXTS)
    assert scores[:2] == [1.0, 0.0]
    assert math.isnan(scores[2])
    assert sum(len(body["prompts"]) for body in stub.requests) == 3
    assert set(stub.requests[0]) == {"prompts", "completions", "references"}


@pytest.mark.parametrize(
    "response",
    [{}, [], {"scores": 1}, {"scores": [1, 2]}, {"scores": [1, "2", 3]}, {"scores": [1, True, 0]}],
)
def test_a_malformed_response_is_an_error_and_not_a_score(response: Any) -> None:
    with (
        stub_server(lambda body: response) as stub,
        pytest.raises(ServerError, match="must respond with 3 scores"),
    ):
        reward(stub.url)(*TEXTS)


def test_an_invalid_config_is_refused() -> None:
    with pytest.raises(ValueError, match="url must start with http"):
        reward("localhost:8000")
    with pytest.raises(ValueError, match="batch must be at least 1"):
        reward("http://localhost", batch=0)
