from typing import Any

import pytest
import tiny
import torch
from torch import nn

from etude.config.registry import build
from etude.network.inputs import Inputs
from etude.network.stack import FeedForward, Stack


def test_a_prenorm_stack_ends_with_a_norm_and_a_postnorm_stack_does_not() -> None:
    assert isinstance(Stack(tiny.stack(), tiny.VOCAB, causal=True).norm, nn.LayerNorm)
    assert isinstance(
        Stack(tiny.stack(block="postnorm"), tiny.VOCAB, causal=True).norm, nn.Identity
    )


def test_consecutive_layers_of_a_group_share_weights() -> None:
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
def test_dropout_acts_only_in_training_and_follows_the_seed(architecture: str) -> None:
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


def test_feed_forward_is_two_linear_layers_with_an_activation_between() -> None:
    made, x = FeedForward(4, 6, bias=True, activation=nn.Tanh()), torch.randn(1, 2, 4)
    assert torch.equal(made(x), made.down(made.up(x).tanh()))


def test_the_same_seed_gives_the_same_network() -> None:
    def logits(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return build(tiny.stack(), tiny.VOCAB)(Inputs(tiny.tokens(1, 4)))

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))


def run_and_collect(seen: list[torch.Tensor], **given: Any) -> tuple[Any, torch.Tensor]:
    """Returns a network and its embeddings; appends the input of its first block to `seen`."""
    made, ids = tiny.network(tiny.stack(position="none", **given)), tiny.tokens(2, 5)
    made.stack.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    made(Inputs(ids))
    return made, made.embedding.weight[ids]


def test_token_embeddings_can_be_scaled_by_the_square_root_of_their_width() -> None:
    seen: list[torch.Tensor] = []
    _, rows = run_and_collect(seen, scale_embedding=True)
    tiny.assert_close(seen[0], 4 * rows)
    made, rows = run_and_collect(seen, scale_embedding=True, embedding_dim=4)
    tiny.assert_close(seen[-1], made.stack.widen(2 * rows))


def test_token_embeddings_can_be_normalised_before_their_projection() -> None:
    seen: list[torch.Tensor] = []
    made, rows = run_and_collect(seen, norm_embedding=True, embedding_dim=4)
    norm = made.stack.embedding_norm
    unit = (rows - rows.mean(-1, keepdim=True)) / (
        rows.var(-1, unbiased=False, keepdim=True) + norm.eps
    ).sqrt()
    tiny.assert_close(seen[0], made.stack.widen(unit * norm.weight + norm.bias))


def test_embedding_dim_narrows_the_table_which_a_tied_head_shares() -> None:
    narrow, wide = (tiny.network(tiny.stack(embedding_dim=n, dim=64)) for n in (4, None))
    shapes = {name: tuple(p.shape) for name, p in narrow.named_parameters()}
    assert shapes["embedding.weight"] == (tiny.VOCAB.size, 4)
    assert shapes["stack.widen.weight"] == (64, 4)
    assert shapes["head.narrow.weight"] == (4, 64)
    assert shapes["stack.position.table.weight"][1] == 4
    assert narrow.head.out.weight is narrow.embedding.weight
    assert isinstance(wide.stack.widen, nn.Identity)
    assert narrow(Inputs(tiny.tokens(1, 3))).shape == (1, 3, tiny.VOCAB.size)


def test_each_segment_adds_a_vector_and_the_default_is_segment_0() -> None:
    made, ids = tiny.network(tiny.stack("encoder_only", n_segments=2)), tiny.tokens(2, 4)
    none = made(Inputs(ids))
    kinds = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
    found = made(Inputs(ids, segments=kinds))
    assert torch.equal(made(Inputs(ids, segments=torch.zeros_like(ids))), none)
    assert torch.equal(found[1], none[1])
    with torch.no_grad():
        made.stack.segments.weight[1] = made.stack.segments.weight[0]
    assert (found[0] != none[0]).any(-1).all()
    assert torch.equal(made(Inputs(ids, segments=kinds)), none)


def test_a_stack_without_segment_embeddings_ignores_segments() -> None:
    made, ids = tiny.network(tiny.stack("encoder_only")), tiny.tokens(2, 4)
    assert torch.equal(made(Inputs(ids, segments=torch.ones_like(ids))), made(Inputs(ids)))
