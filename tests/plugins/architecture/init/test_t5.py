import math
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
import weights

from etude.network.inputs import Inputs


def drawn(factor: float = 1.0, **given: Any) -> Any:  # an encoder-decoder
    parts = {"position": "relative", "norm": "rmsnorm"}
    return weights.drawn("t5", "encoder_decoder", values={"factor": factor}, **parts, **given)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_maps_keep_the_size_of_what_they_read_and_queries_make_up_for_unscaled_logits(
    factor: float,
) -> None:
    made = drawn(factor)
    head_dim = weights.DIM // 4
    for name, linear in (*weights.maps(made).items(), ("head", made.head.out)):
        wider = head_dim if name.endswith(".q") else 1
        weights.assert_std(linear.weight, factor * (linear.in_features * wider) ** -0.5)


def test_tokens_have_a_table_of_size_1_and_other_tables_shrink_with_the_width() -> None:
    made = drawn(2.0)
    weights.assert_std(made.embedding.weight, 2.0)
    for stack in (made.encoder, made.decoder):
        weights.assert_std(stack.position.table.weight, 2 * weights.DIM**-0.5)


@torch.no_grad()
def test_untrained_it_pays_about_the_log_of_its_vocabulary() -> None:
    """Half a nat more: the last norm makes the variance of logits 1."""
    made = drawn(mixer=tiny.part("architecture/mixer", "attention", scaled=False))
    ids, due = tiny.tokens(32, 32), tiny.tokens(32, 32, seed=1)
    logits = made(Inputs(ids, source=Inputs(tiny.tokens(32, 16, seed=2))))
    loss = F.cross_entropy(logits.flatten(0, 1), due.flatten()).item()
    assert loss == pytest.approx(math.log(tiny.VOCAB.size) + 0.5, abs=0.2)


def test_biases_are_0_and_norms_1() -> None:
    weights.assert_biases_are_0_and_norms_1(drawn())


def test_the_factor_must_be_positive() -> None:
    with pytest.raises(ValueError, match="factor must be positive"):
        drawn(0.0)
