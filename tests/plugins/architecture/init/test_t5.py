import math
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
import weights

from etude.network.inputs import Inputs


def initialised(factor: float = 1.0, **given: Any) -> Any:  # an encoder-decoder
    parts = {"position": "relative", "norm": "rmsnorm"}
    return weights.initialised("t5", "encoder_decoder", values={"factor": factor}, **parts, **given)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_linear_layers_preserve_variance_and_queries_absorb_the_logit_scale(
    factor: float,
) -> None:
    made = initialised(factor)
    head_dim = weights.DIM // 4
    for name, linear in (*weights.maps(made).items(), ("head", made.head.out)):
        wider = head_dim if name.endswith(".q") else 1
        weights.assert_std(linear.weight, factor * (linear.in_features * wider) ** -0.5)


def test_the_token_table_has_std_1_and_other_tables_std_1_over_sqrt_dim() -> None:
    made = initialised(2.0)
    weights.assert_std(made.embedding.weight, 2.0)
    for stack in (made.encoder, made.decoder):
        weights.assert_std(stack.position.table.weight, 2 * weights.DIM**-0.5)


@torch.no_grad()
def test_the_initial_loss_is_about_log_n_vocab() -> None:
    """It is half a nat higher, since the final norm gives logits a variance of 1."""
    made = initialised(mixer=tiny.part("architecture/mixer", "attention", scaled=False))
    ids, targets = tiny.tokens(32, 32), tiny.tokens(32, 32, seed=1)
    logits = made(Inputs(ids, source=Inputs(tiny.tokens(32, 16, seed=2))))
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
    assert loss == pytest.approx(math.log(tiny.VOCAB.size) + 0.5, abs=0.2)


def test_biases_are_0_and_norms_1() -> None:
    weights.assert_biases_are_0_and_norms_1(initialised())


def test_the_factor_must_be_positive() -> None:
    with pytest.raises(ValueError, match="factor must be positive"):
        initialised(0.0)
