import tiny
import torch

from etude.config.registry import build
from etude.network.stack import attention_span
from etude.objective.step_size import StepSize


def test_the_window_grows_linearly_by_multiples_of_its_start_and_then_ends() -> None:
    ramp = build(tiny.part("ramp", "span", start=4, steps=7))
    grown = [ramp(step, StepSize(8, 32)).span for step in range(9)]
    assert grown == [4, 8, 12, 16, 20, 24, 28, None, None]


def test_a_span_equals_a_window_of_every_layer() -> None:
    limited = tiny.network()
    windowed = tiny.network(
        tiny.stack(mixer=tiny.part("architecture/mixer", "attention", window=3))
    )
    ids = tiny.tokens(2, 9)
    where = torch.ones_like(ids, dtype=torch.bool)
    with attention_span(limited, 3):
        mine = limited(tiny.inputs(limited, ids), where)
    tiny.assert_close(mine, windowed(tiny.inputs(windowed, ids), where))


def test_a_smaller_window_of_a_layer_stays() -> None:
    made = tiny.network(tiny.stack(mixer=tiny.part("architecture/mixer", "attention", window=3)))
    ids = tiny.tokens(2, 9)
    where = torch.ones_like(ids, dtype=torch.bool)
    before = made(tiny.inputs(made, ids), where)
    with attention_span(made, 5):
        assert torch.equal(made(tiny.inputs(made, ids), where), before)


def test_after_the_step_attention_is_unlimited() -> None:
    made = tiny.network()
    ids = tiny.tokens(2, 9)
    where = torch.ones_like(ids, dtype=torch.bool)
    before = made(tiny.inputs(made, ids), where)
    with attention_span(made, 3):
        assert not torch.equal(made(tiny.inputs(made, ids), where), before)
    assert torch.equal(made(tiny.inputs(made, ids), where), before)
