import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache


def test_the_head_has_a_bias_even_if_it_is_tied() -> None:
    made = build(tiny.stack("encoder_only", head="transform"), tiny.VOCAB)
    assert made.head.out.weight is made.embedding.weight
    assert made.head.out.bias.shape == (tiny.VOCAB.size,)
    assert not made.head.out.bias.any()


def test_it_does_not_decode_step_by_step() -> None:
    made = build(tiny.stack("encoder_only"), tiny.VOCAB)
    with pytest.raises(AssertionError, match="does not decode step by step"), torch.no_grad():
        made(Inputs(tiny.tokens(1, 3)), cache=KvCache(4))
