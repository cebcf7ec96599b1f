"""Laws of every optimizer: parameter groups, learning rates, state and skipped steps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from defaults import default
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from etude.config.composition import compose
from etude.config.config_file import load_config, save_config, to_experiment
from etude.config.plugin_files import options
from etude.config.registry import build
from etude.config.schema.parameter_group import ParameterGroup
from etude.config.schema.plugins import OptimizerConfig
from etude.errors import ConfigError
from etude.formats.state_tree import read_tree, write_tree
from etude.training.optim import (
    OptimizerParameter,
    ParameterKind,
    decay_groups,
    optimizer_parameters,
)

EVERY = pytest.mark.parametrize("name", options("optimizer"))
NORMS = ParameterGroup("*norm*", weight_decay=0.0)
EARLY = ParameterGroup("stack.blocks.0.*", lr=0.5)
TABLE = ParameterGroup("embedding.weight", lr=0.0, weight_decay=0.2)


def config(name: str, *groups: ParameterGroup) -> OptimizerConfig:
    return default(f"optimizer/{name}", lr=0.02, weight_decay=0.1, groups=list(groups))


def made(name: str, module: nn.Module, *groups: ParameterGroup) -> torch.optim.Optimizer:
    return build(config(name, *groups), optimizer_parameters(module))


def untied() -> Any:  # the architecture's own class
    return tiny.network(tiny.stack(tie=False))


def train(
    module: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 1
) -> dict[str, torch.Tensor]:
    """Returns the weights after steps on random gradients."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.grad = noise.to(parameter.dtype)
        optimizer.step()
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def settings(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter, by name."""
    names = {id(p): name for name, p in module.named_parameters()}
    found = [
        (names[id(p)], (group["lr"], group["weight_decay"]))
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert len(dict(found)) == len(found) == len(names)  # each parameter once
    assert all(group["params"] for group in optimizer.param_groups)
    return dict(found)


@EVERY
def test_only_the_weights_of_linear_layers_decay(name: str) -> None:
    module = untied()
    for key, (lr, decay) in settings(made(name, module), module).items():
        matrix = key == "head.out.weight" or (
            ".blocks." in key and dict(module.named_parameters())[key].ndim == 2
        )
        assert (lr, decay) == (0.02, 0.1 if matrix else 0.0), key


@EVERY
def test_the_first_matching_group_applies(name: str) -> None:
    module = untied()
    optimizer = made(name, module, NORMS, EARLY, TABLE)
    assert optimizer.param_groups[0]["lr"] == 0.02  # logged as train/lr
    for key, (lr, decay) in settings(optimizer, module).items():
        if "norm" in key:
            assert (lr, decay) == (0.02, 0.0), key
        elif key.startswith("stack.blocks.0."):
            assert (lr, decay) == (0.01, 0.1 if key.endswith("weight") else 0.0), key
        elif key == "embedding.weight":
            assert (lr, decay) == (0.0, 0.2)
        else:
            assert lr == 0.02, key


@EVERY
def test_a_schedule_scales_the_learning_rate_of_every_group(name: str) -> None:
    module = untied()
    optimizer = made(name, module, EARLY)
    before = settings(optimizer, module)
    scheduler = LambdaLR(optimizer, lambda step: [1.0, 0.5, 0.25][step])
    train(module, optimizer, 1)
    scheduler.step()
    after = settings(optimizer, module)
    assert all(after[key] == (lr / 2, decay) for key, (lr, decay) in before.items())


@EVERY
def test_a_learning_rate_factor_of_0_keeps_parameters_unchanged(name: str) -> None:
    module = untied()
    start = {key: p.detach().clone() for key, p in module.named_parameters()}
    left = train(module, made(name, module, ParameterGroup("stack.*", lr=0.0)), 3)
    for key, tensor in left.items():
        assert torch.equal(tensor, start[key]) == key.startswith("stack."), key


@EVERY
@pytest.mark.parametrize("groups", [[], [NORMS, EARLY]], ids=["plain", "grouped"])
def test_training_resumes_from_a_checkpoint_bit_for_bit(
    name: str, groups: list[ParameterGroup], tmp_path: Path
) -> None:
    module = untied()
    optimizer = made(name, module, *groups)
    train(module, optimizer, 3)
    write_tree({"model": module.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    wanted = train(module, optimizer, 3, seed=2)
    stored = read_tree(tmp_path)
    other = untied()
    other.load_state_dict(stored["model"])
    resumed = made(name, other, *groups)
    resumed.load_state_dict(stored["optimizer"])
    found = train(other, resumed, 3, seed=2)
    assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items())


@EVERY
def test_a_step_without_gradients_changes_neither_weights_nor_state(name: str) -> None:
    module, other = untied(), untied()
    optimizer, steady = made(name, module), made(name, other)
    train(module, optimizer, 2)
    train(other, steady, 2)
    optimizer.zero_grad()
    optimizer.step()
    wanted = train(other, steady, 2, seed=2)
    found = train(module, optimizer, 2, seed=2)
    assert all(torch.equal(found[key], tensor) for key, tensor in wanted.items())


@EVERY
def test_a_closure_is_called_once_with_gradients_on(name: str) -> None:
    module = untied()
    calls: list[bool] = []

    def closure() -> float:
        calls.append(torch.is_grad_enabled())
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        return 3.0

    before = module.embedding.weight.detach().clone()
    assert made(name, module).step(closure) == 3.0
    assert calls == [True]
    assert not torch.equal(module.embedding.weight, before)


PATTERNS: list[tuple[list[str], str]] = [
    (
        ["embeding.*"],
        r"groups\[0\]: embeding\.\* matches no parameter\.\n  Did you mean embedding\?",
    ),
    (["*.bias", "x"], r"groups\[1\]: x matches no parameter\.\n  The parameters are embedding"),
    (
        ["stack.*", "*.bias"],
        r"groups\[1\]: \*\.bias matches no .* that no earlier entry matches\.\n",
    ),
]


@pytest.mark.parametrize(("patterns", "message"), PATTERNS, ids=lambda value: str(value)[:20])
def test_a_group_that_matches_no_parameter_is_an_error(patterns: list[str], message: str) -> None:
    groups = [ParameterGroup(pattern) for pattern in patterns]
    with pytest.raises(ConfigError, match=message):
        made("adamw", untied(), *groups)


def test_a_wrong_group_is_an_error_before_the_run_folder_exists(tmp_path: Path) -> None:
    plain = tiny.experiment("clm", tmp_path)
    wrong = replace(plain, optimizer=config("sgd", ParameterGroup("network.*")))
    with pytest.raises(ConfigError, match=r"network\.\* matches no parameter"):
        tiny.training_parts(wrong)  # names are relative to the network


def test_no_group_is_empty() -> None:
    bias = OptimizerParameter("b", nn.Parameter(torch.zeros(2)), ParameterKind.VECTOR)
    assert [group["weight_decay"] for group in decay_groups(config("adamw"), [bias])] == [0.0]


@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_negative_group_values_are_errors(key: str) -> None:
    values: dict[str, Any] = {key: -0.1}
    with pytest.raises(ValueError, match=f"{key} must be 0 or more, got -0.1"):
        ParameterGroup("*", **values)


@EVERY
def test_groups_can_be_set_on_the_command_line_and_are_saved_in_the_run(
    name: str, tmp_path: Path
) -> None:
    entries = 'optimizer.groups=[{pattern:"*.norm*",weight_decay:0.0},{pattern:"a.*",lr:0.1}]'
    composed = to_experiment(compose("train", [f"optimizer={name}", entries]).config)
    save_config(composed, tmp_path)
    assert load_config(tmp_path) == composed
    assert composed.optimizer.groups == [
        ParameterGroup("*.norm*", weight_decay=0.0),
        ParameterGroup("a.*", lr=0.1),
    ]


@EVERY
def test_a_run_with_clipping_reduces_the_loss(name: str, tmp_path: Path) -> None:
    trainer = {"max_steps": 10, "clip": 1.0}
    run = tiny.experiment("clm", tmp_path, trainer=trainer)
    run = replace(run, optimizer=config(name, NORMS))
    lines = tiny.fit(run, tiny.training_parts(run), tmp_path / "run")
    assert lines[-1]["loss"] < lines[0]["loss"]
