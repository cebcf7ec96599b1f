import pytest
import tiny
import torch

from etude.network import Inputs, KvCache
from etude.registry import build


def test_the_head_has_a_bias_even_where_its_table_is_tied() -> None:
    made = build(tiny.stack("encoder_only"), tiny.VOCAB)
    assert made.head.weight is made.embedding.weight
    assert made.head.bias.shape == (tiny.VOCAB.size,)
    assert not made.head.bias.any()


def test_it_decodes_nothing_step_by_step() -> None:
    made = build(tiny.stack("encoder_only"), tiny.VOCAB)
    with pytest.raises(AssertionError, match="nothing that decodes"), torch.no_grad():
        made(Inputs(tiny.tokens(1, 3)), cache=KvCache(4))
