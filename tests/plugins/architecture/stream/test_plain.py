import pytest
import tiny
import torch

from etude.network.inputs import Inputs


@pytest.mark.parametrize("n_groups", [None, 2])
def test_layers_run_in_order_and_those_of_a_group_run_the_same_block(n_groups: int | None) -> None:
    made = tiny.network(tiny.stack(n_layers=4, n_groups=n_groups, position="none"))
    seen: list[int] = []
    for i, block in enumerate(made.stack.blocks):
        block.register_forward_pre_hook(lambda module, args, i=i: seen.append(i))
    ids = tiny.tokens(2, 5)
    found = made(Inputs(ids))
    assert seen == ([0, 1, 2, 3] if n_groups is None else [0, 0, 1, 1])
    x = made.embedding(ids)
    context = made.stack.context(Inputs(ids), None, None)
    for i in list(seen):
        x = made.stack.blocks[i](x, context)
    assert torch.equal(found, made.logits(made.stack.norm(x)))


def test_it_has_no_weights() -> None:
    assert not list(tiny.network().stack.stream.parameters())
