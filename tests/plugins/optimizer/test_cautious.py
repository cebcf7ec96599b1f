"""With `cautious`, weights decay where the update moves them towards 0, and nowhere else."""

from typing import Any

import pytest
import tiny
import torch
from optimizers import Small, noise

from etude.config.plugin_files import options
from etude.config.registry import build, load
from etude.config.schema.effect import refuse_without_effect
from etude.errors import ConfigError
from etude.training.optim import optimizer_parameters

CAUTIOUS = [
    name
    for name in options("optimizer")
    if "cautious" in load(f"optimizer/{name}").config.__dataclass_fields__
]
LR, DECAY = 0.02, 0.5


def fresh() -> Any:  # the architecture's own class
    torch.manual_seed(0)
    return tiny.network(tiny.stack(tie=False))


def made(name: str, module: Any, decay: float, cautious: bool) -> torch.optim.Optimizer:
    config = tiny.part("optimizer", name, lr=LR, weight_decay=decay, cautious=cautious)
    return build(config, optimizer_parameters(module))


def test_it_is_an_option_of_optimizers_with_decoupled_decay() -> None:
    assert CAUTIOUS == ["adamw", "lion", "muon", "normuon", "soap"]


@pytest.mark.parametrize("name", CAUTIOUS)
def test_weights_that_move_towards_0_decay_and_others_do_not(name: str) -> None:
    module, plain = fresh(), fresh()
    optimizer, without = made(name, module, DECAY, True), made(name, plain, 0.0, False)
    for seed in range(3):
        plain.load_state_dict(module.state_dict())
        before = {key: p.detach().clone() for key, p in module.named_parameters()}
        for one, stepped in ((module, optimizer), (plain, without)):
            noise(one, 100 + seed)
            stepped.step()
        decays = {
            id(p): group["weight_decay"]
            for group in optimizer.param_groups
            for p in group["params"]
        }
        for (key, mine), other in zip(module.named_parameters(), plain.parameters(), strict=True):
            was, update = before[key], before[key] - other.detach()
            mask = (update.sign() * was.sign() >= 0).double()
            wanted = other.detach() - LR * decays[id(mine)] * mask * was
            tiny.assert_close(mine.detach(), wanted)
            assert not decays[id(mine)] or 0.3 < float(mask.mean()) < 0.9, key


@pytest.mark.parametrize("name", CAUTIOUS)
def test_the_configured_decay_is_saved(name: str) -> None:
    module = fresh()
    optimizer = made(name, module, DECAY, True)
    noise(module, 0)
    optimizer.step()
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, DECAY}


def test_a_step_without_gradients_decays_nothing() -> None:
    module = Small()
    optimizer = made("adamw", module, DECAY, True)
    before = module.up.weight.detach().clone()
    optimizer.step()
    assert torch.equal(module.up.weight, before)


def test_without_weight_decay_it_is_refused() -> None:
    config = tiny.part("optimizer", "adamw", lr=LR, weight_decay=0.0, cautious=True)
    with pytest.raises(ConfigError, match=r"cautious=true has no effect"):
        refuse_without_effect(config)
