import pytest
import tiny
import torch
from torch import nn

from etude.inputs import Inputs
from etude.registry import build
from etude.stack import FeedForward, Stack


def test_a_stack_of_prenorm_blocks_ends_with_a_norm_and_of_postnorm_ones_does_not() -> None:
    assert isinstance(Stack(tiny.stack(), causal=True).norm, nn.LayerNorm)
    assert isinstance(Stack(tiny.stack(block="postnorm"), causal=True).norm, nn.Identity)


def test_layers_share_sets_of_weights_in_runs() -> None:
    shared = tiny.network(tiny.stack(n_layers=4, n_groups=2))
    assert len(shared.stack.blocks) == 2
    apart = tiny.network(tiny.stack(n_layers=4))
    weights = shared.state_dict()
    for layer in range(4):
        mine = {k: v for k, v in weights.items() if k.startswith(f"stack.blocks.{layer // 2}.")}
        for name, tensor in mine.items():
            apart.state_dict()[f"stack.blocks.{layer}." + name.split(".", 3)[3]].copy_(tensor)
    for name in ("embedding.weight", "stack.position.table.weight", "stack.norm.weight"):
        apart.state_dict()[name].copy_(weights[name])
    apart.state_dict()["stack.norm.bias"].copy_(weights["stack.norm.bias"])
    given = Inputs(tiny.tokens(2, 5))
    assert torch.equal(shared(given), apart(given))


@pytest.mark.parametrize("architecture", ["decoder_only", "encoder_only", "encoder_decoder"])
def test_dropout_acts_in_training_alone_and_follows_the_seed(architecture: str) -> None:
    plain = build(tiny.stack(architecture), tiny.VOCAB)
    dropping = build(tiny.stack(architecture, dropout=0.2), tiny.VOCAB)
    dropping.load_state_dict(plain.state_dict())
    given = tiny.inputs(plain, tiny.tokens(2, 5))
    assert torch.equal(dropping.eval()(given), plain(given))
    dropping.train()
    drawn: list[torch.Tensor] = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(dropping(given))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_feed_forward_is_two_maps_with_an_activation_between() -> None:
    made, x = FeedForward(4, 6, bias=True, activation=nn.Tanh()), torch.randn(1, 2, 4)
    assert torch.equal(made(x), made.down(made.up(x).tanh()))


def test_the_same_seed_gives_the_same_network() -> None:
    def logits(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return build(tiny.stack(), tiny.VOCAB)(Inputs(tiny.tokens(1, 4)))

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))
