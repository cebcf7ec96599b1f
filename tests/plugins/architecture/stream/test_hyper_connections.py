"""Hyper-connections against the code of the paper's appendix, written again from its equations."""

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from etude.config.registry import build
from etude.network.inputs import Inputs


def config(n_streams: int = 3, **given: Any) -> Any:  # the plugin's own class
    stream = tiny.part("architecture/stream", "hyper_connections", n_streams=n_streams)
    return tiny.stack(stream=stream, **given)


def expected(made: Any, ids: Tensor, n: int) -> Tensor:
    """Equations 2 and 10 to 13 of the paper, stream by stream and token by token."""
    context = made.stack.context(Inputs(ids), None, None)
    rows = [made.embedding(ids)] * n
    for block, weights in zip(made.stack.blocks, made.stack.stream.connections, strict=True):
        normed = [weights.norm(row) for row in rows]
        beta = [
            weights.write[i] + weights.write_scale * torch.tanh(normed[i] @ weights.dynamic_write)
            for i in range(n)
        ]
        alpha = [
            [
                weights.mix[i, j]
                + weights.mix_scale * torch.tanh(normed[i] @ weights.dynamic_mix[:, j])
                for j in range(n + 1)
            ]
            for i in range(n)
        ]
        h = sum(alpha[i][0][..., None] * rows[i] for i in range(n))
        branch = block(h, context) - h
        rows = [
            beta[j][..., None] * branch
            + sum(alpha[i][j + 1][..., None] * rows[i] for i in range(n))
            for j in range(n)
        ]
    return made.logits(made.stack.norm(sum(rows) / n))


def test_it_follows_the_equations_of_the_paper() -> None:
    made, ids = tiny.network(config(position="none")), tiny.tokens(2, 5)
    tiny.assert_close(made(Inputs(ids)), expected(made, ids, 3))


@pytest.mark.parametrize("block", ["prenorm", "postnorm"])
def test_it_starts_as_the_plain_stack(block: str) -> None:
    networks: list[Any] = []
    for chosen in (config(block=block, n_layers=4), tiny.stack(block=block, n_layers=4)):
        torch.manual_seed(0)
        networks.append(build(chosen, tiny.VOCAB).double())
    made, plain = networks
    plain.load_state_dict({k: v for k, v in made.state_dict().items() if "stream" not in k})
    given = Inputs(tiny.tokens(2, 5))
    tiny.assert_close(made(given), plain(given))


def test_each_layer_reads_another_stream_at_the_start() -> None:
    made = build(config(n_layers=4), tiny.VOCAB)
    read = [int(weights.mix[:, 0].argmax()) for weights in made.stack.stream.connections]
    assert read == [0, 1, 2, 0]


def test_no_stream_is_an_error() -> None:
    with pytest.raises(ValueError, match="n_streams must be at least 1, got 0"):
        config(0)
