"""muP: factors as in Microsoft's package, activations that do not depend on width."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from etude.config.compatibility import check
from etude.config.plugin_files import options
from etude.config.registry import build
from etude.errors import CompositionError
from etude.training.optim import optimizer_parameters

BASE = 16
WIDTHS = (16, 32, 64, 128)


def network(dim: int, init: str = "mup", tie: bool = False, heads: int = 4, **values: Any) -> Any:
    if init == "mup":
        values = {"base_dim": BASE} | values
    made = tiny.part("architecture/init", init, **values)
    torch.manual_seed(0)
    config = tiny.stack(dim=dim, n_heads=heads, init=made, tie=tie, norm="rmsnorm", position="rope")
    return build(config, tiny.VOCAB)


def groups(made: nn.Module, name: str = "adamw") -> dict[str, tuple[float, float]]:
    config = tiny.part("optimizer", name, lr=0.01, weight_decay=0.1)
    optimizer = build(config, optimizer_parameters(made))
    names = {id(p): name for name, p in made.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


PACKAGE = {
    "table.weight": (0.01, 0.1),
    "up.weight": (0.0025, 0.4),
    "up.bias": (0.01, 0.1),
    "down.weight": (0.0025, 0.4),
    "head.weight": (0.01, 0.1),
}
"""Rates and decay of MuAdamW(lr=0.01, weight_decay=0.1), mup 1.0.0, for an embedding, two linear
layers and a MuReadout of width 64, with base shapes of width 16. The package itself is no
dependency: it requires torchvision."""


def test_learning_rates_and_decay_are_those_of_the_package() -> None:
    ours = groups(network(64))
    assert ours["stack.blocks.0.mlp.up.weight"] == pytest.approx(PACKAGE["up.weight"])
    assert ours["stack.blocks.0.mlp.down.weight"] == pytest.approx(PACKAGE["down.weight"])
    assert ours["stack.blocks.0.mlp.up.bias"][0] == PACKAGE["up.bias"][0]
    assert ours["embedding.weight"][0] == PACKAGE["table.weight"][0]
    assert ours["head.out.weight"] == PACKAGE["head.weight"]


def test_the_factors_of_attention_logits_and_of_the_output_are_in_the_weights() -> None:
    made, plain = network(64), network(64, "scaled")
    half = math.sqrt(BASE / 64)
    ours = groups(made)
    assert ours["stack.blocks.0.mixer.q.weight"][0] == pytest.approx(0.01 * half * BASE / 64)
    assert ours["stack.blocks.0.mixer.k.weight"][0] == pytest.approx(0.01 * BASE / 64)
    assert ours["stack.norm.weight"][0] == pytest.approx(0.01 * BASE / 64)
    assert torch.equal(made.stack.norm.weight, torch.full((64,), BASE / 64))
    query, key = (plain.stack.blocks[0].mixer.q.weight, plain.stack.blocks[0].mixer.k.weight)
    mixer = made.stack.blocks[0].mixer
    torch.testing.assert_close(mixer.q.weight, query * half * half)
    torch.testing.assert_close(mixer.k.weight, key * half)
    torch.testing.assert_close(made.embedding.weight, plain.embedding.weight)


def test_heads_of_constant_width_keep_their_logits() -> None:
    made = network(64, heads=16, base_head_dim=4)
    assert groups(made)["stack.blocks.0.mixer.q.weight"][0] == pytest.approx(0.01 * BASE / 64)


@pytest.mark.parametrize("tie", [True, False])
def test_at_the_base_width_it_is_the_scaled_initialisation(tie: bool) -> None:
    mine, other = network(BASE, tie=tie), network(BASE, "scaled", tie=tie)
    pairs = zip(mine.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert groups(mine) == groups(other)


def sizes(init: str, tie: bool, steps: int = 4) -> dict[int, list[float]]:
    """Root mean squares of the states, and of the change of the logits, after Adam steps."""
    found: dict[int, list[float]] = {}
    for dim in WIDTHS:
        made = network(dim, init, tie, std=0.5)
        inputs = tiny.inputs(made, tiny.tokens(4, 12))
        with torch.no_grad():
            before = made(inputs)
        config = tiny.part("optimizer", "adamw", lr=0.01, weight_decay=0.0)
        optimizer = build(config, optimizer_parameters(made))
        for _ in range(steps):
            optimizer.zero_grad()
            logits: Tensor = made(inputs)
            ids = inputs.tokens.flatten()
            nn.functional.cross_entropy(logits.flatten(0, 1), ids.roll(-1)).backward()
            optimizer.step()
        with torch.no_grad():
            states = made.stack.blocks[0](made.embedding(inputs.tokens), context(made, inputs))
            change = made(inputs) - before
        found[dim] = [float(x.square().mean().sqrt()) for x in (states, change)]
    return found


def context(made: Any, inputs: Any) -> Any:
    return made.stack.context(inputs, None, None)


@pytest.mark.parametrize("tie", [True, False])
def test_activations_after_some_steps_do_not_grow_with_width(tie: bool) -> None:
    """The coordinate check of the paper, appendix D.1: constant here, growing without muP.

    Half: the logits of an untrained network shrink with width, as those of any muP network.
    """
    mup, plain = sizes("mup", tie), sizes("scaled", tie)
    for i in range(2):
        ours = [found[i] for found in mup.values()]
        assert max(ours) < 1.2 * ours[0], ours
        assert min(ours) > 0.5 * ours[0], ours
    growth = plain[WIDTHS[-1]][1] / plain[WIDTHS[0]][1]
    assert growth > 2, plain


@pytest.mark.parametrize("name", options("optimizer"))
def test_only_optimizers_with_elementwise_steps_are_accepted(name: str, tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path)
    init = tiny.part("architecture/init", "mup", base_dim=BASE)
    config = replace(config, architecture=replace(config.architecture, init=init))
    config = replace(config, schedule=tiny.part("schedule", "constant"))
    config = replace(config, optimizer=tiny.part("optimizer", name, lr=0.01))
    if name in ("adamw", "lion", "schedule_free"):
        check(config)
    else:
        with pytest.raises(CompositionError, match=rf"init=mup .*; those of optimizer/{name}"):
            check(config)


@pytest.mark.parametrize(
    "parts",
    [
        {"block": "postnorm"},
        {"head": "transform"},
        {"embedding_dim": 8},
        {"scale_embedding": True},
    ],
    ids=str,
)
def test_networks_with_other_matrices_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="init=mup needs a final norm"):
        build(tiny.stack(init=tiny.part("architecture/init", "mup"), **parts), tiny.VOCAB)


@pytest.mark.parametrize(("key", "value"), [("base_dim", 0), ("base_head_dim", 0), ("std", 0.0)])
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.part("architecture/init", "mup", **{key: value})


def test_the_output_multiplier_of_an_encoder_decoder_is_in_the_norm_of_its_decoder() -> None:
    init = tiny.part("architecture/init", "mup", base_dim=BASE)
    made = build(tiny.stack("encoder_decoder", dim=32, init=init), tiny.VOCAB)
    assert float(made.decoder.norm.weight[0].detach()) == BASE / 32
    assert float(made.encoder.norm.weight[0].detach()) == 1
