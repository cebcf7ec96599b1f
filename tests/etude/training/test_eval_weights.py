"""What is validated and saved are the eval weights; what is trained and resumed are the others."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from defaults import default
from safetensors.torch import load_file

from etude.config.registry import build
from etude.formats.model import network_state
from etude.formats.state_tree import read_tree
from etude.objective.objective import Objective
from etude.training.optim import optimizer_parameters
from etude.training.run import start
from etude.training.validation import Validation

STEPS = 4


def config_of(folder: Path, **values: Any) -> Any:
    trainer = {
        "max_steps": STEPS,
        "val_every": 2,
        "save_every": 1,
        "keep": 9,
        "keep_best": "val/loss",
    }
    made = tiny.experiment("clm", folder, trainer=trainer)
    optimizer = tiny.part("optimizer", "schedule_free", lr=0.02)
    return replace(made, optimizer=optimizer, schedule=tiny.part("schedule", "constant"), **values)


def run(config: Any, folder: Path) -> list[dict[str, Any]]:
    start(replace(config, run=str(folder)), "tiny", [])
    return tiny.untimed_steps(folder)


def saved(folder: Path, step: int) -> Any:  # a tree
    return read_tree(folder / "checkpoints" / f"step-{step:09d}")


def averages(config: Any, folder: Path, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The training weights in a checkpoint, and the eval weights computed from it."""
    objective = tiny.training_parts(config).objective
    optimizer = build(config.optimizer, optimizer_parameters(objective))
    tree = saved(folder, step)
    objective.load_state_dict(tree["state_dict"])
    optimizer.load_state_dict(tree["optimizer_states"][0])
    named = dict(objective.network.named_parameters())
    return network_state(tree["state_dict"]), {
        name: optimizer.eval_weight(p).detach() for name, p in named.items()
    }


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


def assert_same(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert mine.keys() - theirs.keys() <= {"head.out.weight", "network.head.out.weight"}  # tied
    assert all(torch.equal(mine[name], theirs[name]) for name in mine.keys() & theirs.keys())


def test_the_model_and_the_best_one_have_eval_weights_and_checkpoints_the_others(
    tmp_path: Path,
) -> None:
    config = config_of(tmp_path)
    lines = run(config, tmp_path / "run")
    trained, average = averages(config, tmp_path / "run", STEPS)
    assert_same(weights(tmp_path / "run" / "model"), average)
    assert any(not torch.equal(trained[name], average[name]) for name in average)
    losses = {line["step"]: line["val/loss"] for line in lines if "val/loss" in line}
    best = min(losses, key=lambda step: losses[step])
    assert_same(weights(tmp_path / "run" / "best"), averages(config, tmp_path / "run", best)[1])


def test_validation_measures_the_eval_weights_and_changes_no_bit_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path)
    seen: list[dict[str, Any]] = []
    measure = Validation.measure

    def and_look(self: Validation, objective: Objective[Any, Any]) -> dict[str, float]:
        seen.append({n: p.detach().clone() for n, p in objective.network.named_parameters()})
        return measure(self, objective)

    monkeypatch.setattr(Validation, "measure", and_look)
    run(config, tmp_path / "often")
    for step, found in zip((2, 4), seen, strict=True):
        assert_same(found, averages(config, tmp_path / "often", step)[1])
    seldom = replace(config, trainer=replace(config.trainer, val_every=STEPS))
    run(seldom, tmp_path / "seldom")
    first, second = (saved(tmp_path / name, STEPS)["state_dict"] for name in ("often", "seldom"))
    assert_same(first, second)


def test_a_run_resumed_after_its_last_step_saves_the_eval_weights(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    whole = run(config, tmp_path / "run")
    before = weights(tmp_path / "run" / "model")
    shutil.rmtree(tmp_path / "run" / "model")
    (tmp_path / "run" / "summary.json").unlink()
    assert run(config, tmp_path / "run") == whole
    assert_same(before, weights(tmp_path / "run" / "model"))


def test_a_moving_average_replaces_the_eval_weights_and_training_is_the_same(
    tmp_path: Path,
) -> None:
    run(config_of(tmp_path), tmp_path / "plain")
    both = config_of(tmp_path, callback={"ema": default("callback/ema", decay=0.5)})
    run(both, tmp_path / "both")
    first, second = (saved(tmp_path / name, STEPS) for name in ("plain", "both"))
    assert_same(first["state_dict"], second["state_dict"])
    average = next(one["average"] for one in second["callbacks"].values() if "average" in one)
    final = {f"network.{name}": w for name, w in weights(tmp_path / "both" / "model").items()}
    assert_same(final, average)
