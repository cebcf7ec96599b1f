import pytest
import tiny
import torch

from etude.network.inputs import Inputs
from etude.network.precision import to_fp32
from etude.objective.log_probs import sequence_log_prob, sum_rows, token_log_prob
from etude.objective.reference import Frozen, reference_of
from etude.training.optim import with_warmup


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_to_fp32_returns_at_least_fp32(given: torch.dtype, wanted: torch.dtype) -> None:
    assert to_fp32(torch.ones(2, dtype=given)).dtype == wanted


def test_rows_are_summed_separately_and_an_empty_row_is_zero() -> None:
    where = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]]).bool()
    assert sum_rows(torch.tensor([1.0, 2.0, 4.0]), where).tolist() == [3.0, 0.0, 4.0]


def test_log_probabilities_are_those_of_the_tempered_softmax() -> None:
    made = tiny.network()
    targets = made.answer([([20, 21], [22, 3]), ([23], [24, 25, 3])])
    for temperature in (1.0, 0.5):
        logits = made(targets.inputs) / temperature
        due = logits.log_softmax(-1).gather(-1, targets.ids[..., None])[..., 0]
        found = token_log_prob(made, targets, temperature)
        torch.testing.assert_close(found, due[targets.where])
    rows = torch.stack([due[i][targets.where[i]].sum() for i in range(2)]) * 0.0
    assert sequence_log_prob(made, targets).shape == rows.shape


def test_a_reference_is_the_policy_at_the_time_it_was_built() -> None:
    made, given = tiny.network(), Inputs(tiny.tokens(2, 4))
    frozen = reference_of(made)
    before = made(given).detach()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(1.0)
    assert isinstance(frozen, Frozen)
    assert torch.equal(frozen(given), before)
    assert not frozen(given).requires_grad
    assert not frozen.state_dict()
    assert not list(frozen.parameters())


def test_warmup_reaches_1_at_its_last_step_and_progress_goes_from_0_to_1() -> None:
    factor = with_warmup(4, 14, lambda progress: progress)
    assert [factor(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [factor(step) for step in (4, 9, 14, 20)] == [0.0, 0.5, 1.0, 1.0]
