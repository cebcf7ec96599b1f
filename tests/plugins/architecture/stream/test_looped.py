import math
from typing import Any

import pytest
import tiny
import torch

from etude.config.registry import build
from etude.network.inputs import Inputs
from etude.network.kv_cache import KvCache
from etude.training.flops import counter


def looped(n_loops: int) -> Any:  # the plugin's own class
    return tiny.stack(stream=tiny.part("architecture/stream", "looped", n_loops=n_loops))


def test_it_equals_a_deeper_stack_that_repeats_the_weights() -> None:
    made = tiny.network(looped(2))
    deep = tiny.network(tiny.stack(n_layers=4))
    weights = made.state_dict()
    copied = {
        name: weights[name.replace(f"blocks.{i}", f"blocks.{i % 2}")]
        for name in deep.state_dict()
        for i in [int(name.split(".")[2]) if "blocks" in name else 0]
    }
    deep.load_state_dict(copied)
    given = Inputs(tiny.tokens(2, 5))
    assert torch.equal(made(given), deep(given))


@torch.no_grad()
def test_each_execution_has_keys_and_values_of_its_own() -> None:
    made, ids, cache = tiny.network(looped(3)), tiny.tokens(2, 6), KvCache(6)
    found = torch.cat([made(Inputs(part), cache=cache) for part in ids.split(2, 1)], 1)
    tiny.assert_close(found, made(Inputs(ids)))
    assert sorted(cache._self) == list(range(6))  # pyright: ignore[reportPrivateUsage]


def test_loops_multiply_flops_and_not_parameters() -> None:
    costs: list[tuple[int, int]] = []
    for n_loops in (1, 3):
        made = tiny.network(looped(n_loops))
        with counter() as flops:
            made.stack(made.embedding(tiny.tokens(1, 8)), Inputs(tiny.tokens(1, 8)))
        costs.append((flops.get_total_flops(), sum(p.numel() for p in made.parameters())))
    assert costs[1] == (3 * costs[0][0], costs[0][1])


def test_residual_branches_start_smaller_by_the_number_of_layers_that_run() -> None:
    stds: list[float] = []
    for n_loops in (1, 4):
        torch.manual_seed(0)
        made = build(looped(n_loops), tiny.VOCAB)
        stds.append(float(made.stack.blocks[0].mlp.down.weight.detach().std()))
    assert math.isclose(stds[0], 2 * stds[1], rel_tol=1e-5)


def test_no_loop_is_an_error() -> None:
    with pytest.raises(ValueError, match="n_loops must be at least 1, got 0"):
        looped(0)
