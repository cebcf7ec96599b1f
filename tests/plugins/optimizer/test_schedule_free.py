from typing import Any

import pytest
import tiny
import torch
from optimizers import Small, by_hand, noise
from schedulefree import AdamWScheduleFree
from torch.optim.lr_scheduler import LambdaLR

from etude.config.compatibility import check
from etude.config.composition import compose
from etude.config.config_file import to_experiment
from etude.config.registry import build
from etude.errors import CompositionError
from etude.training.optim import optimizer_parameters

VALUES: dict[str, Any] = {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.7, "eps": 1e-6}
WRONG = [("beta1", 0.0), ("beta1", 1.0), ("beta2", 1.0), ("eps", 0.0)]


def test_every_step_equals_the_package_in_warmup_and_after_it() -> None:
    ours, theirs = Small().double(), Small().double()
    optimizer = build(tiny.part("optimizer", "schedule_free", **VALUES), optimizer_parameters(ours))
    warmup = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 4))
    reference = AdamWScheduleFree(
        by_hand(theirs, 0.3), lr=0.02, betas=(0.8, 0.7), eps=1e-6, warmup_steps=4, foreach=False
    )
    reference.train()
    for seed in range(12):
        for module, one in ((ours, optimizer), (theirs, reference)):
            noise(module, seed)
            one.step()
        warmup.step()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            tiny.assert_close(mine, other)
        averages = [optimizer.eval_weight(p) for p in ours.parameters()]
        reference.eval()
        for mine, other in zip(averages, theirs.parameters(), strict=True):
            tiny.assert_close(mine, other.detach())
        reference.train()


def test_the_average_of_a_parameter_without_gradients_is_the_parameter() -> None:
    module = Small()
    optimizer = build(tiny.part("optimizer", "schedule_free", lr=0.1), optimizer_parameters(module))
    assert torch.equal(optimizer.eval_weight(module.up.weight), module.up.weight)
    assert not optimizer.state


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "inverse_sqrt"])
def test_a_schedule_that_decays_is_refused(schedule: str) -> None:
    composed = compose("train", ["optimizer=schedule_free", f"schedule={schedule}"])
    with pytest.raises(
        CompositionError,
        match=rf"^optimizer=schedule_free cannot use schedule={schedule}\.\n.*\n.*: constant\.$",
    ):
        check(to_experiment(composed.config))


def test_the_constant_schedule_is_accepted() -> None:
    composed = compose("train", ["optimizer=schedule_free", "schedule=constant"])
    check(to_experiment(composed.config))


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_values_out_of_range_are_errors(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key} must be"):
        tiny.part("optimizer", "schedule_free", lr=0.1, **{key: value})
