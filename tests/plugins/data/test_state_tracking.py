import pytest
import torch

from etude.config.registry import build
from etude.plugins.data.state_tracking import StateTrackingConfig


def test_the_answer_is_the_product_of_the_permutation_matrices() -> None:
    for record in build(StateTrackingConfig(n_items=5, n_problems=100)).records():
        state = torch.arange(1, 6)
        for move in record.prompt.removesuffix("=").replace("-", ""):
            swap = torch.eye(5, dtype=torch.long)
            i = ord(move) - ord("a")
            swap[[i, i + 1]] = swap[[i + 1, i]]
            state = swap @ state
        assert record.answer == "".join(map(str, state.tolist()))


def test_with_two_items_it_is_parity() -> None:
    for record in build(StateTrackingConfig(n_items=2, n_problems=100)).records():
        assert record.answer == ("21" if record.prompt.count("a") % 2 else "12")


@pytest.mark.parametrize(
    ("key", "value"), [("n_items", 1), ("n_items", 10), ("min_length", 0), ("min_length", 17)]
)
def test_values_out_of_range_are_errors(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{key} must be .* got {value}"):
        StateTrackingConfig(**{key: value})
