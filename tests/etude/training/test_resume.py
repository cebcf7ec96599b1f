from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from etude.config.schema.experiment import ExperimentConfig
from etude.config.schema.trainer import NonFinite
from etude.errors import ConfigError
from etude.training.length import Epoch
from etude.training.resume import Resumption, flat, length_changes, resumed_config


@pytest.fixture
def stored(tmp_path: Path) -> ExperimentConfig:
    return tiny.experiment("clm", tmp_path)


def with_trainer(config: ExperimentConfig, **values: int | None) -> ExperimentConfig:
    return replace(config, trainer=replace(config.trainer, **values))


def test_run_lengths_may_change_if_overridden(stored: ExperimentConfig) -> None:
    config = with_trainer(stored, max_steps=50, max_epochs=None)
    assert resumed_config(stored, config, ["trainer.max_steps=50"]).trainer.max_steps == 50
    assert resumed_config(stored, config, ["run=x"]) == stored  # a default may change


def test_a_run_may_resume_with_another_policy_for_numbers_that_are_not_finite(
    stored: ExperimentConfig,
) -> None:
    config = replace(stored, trainer=replace(stored.trainer, non_finite=NonFinite.skip))
    resumed = resumed_config(stored, config, ["trainer.non_finite=skip"])
    assert resumed.trainer.non_finite is NonFinite.skip
    (change,) = length_changes(Resumption(stored, resumed, [], False), Epoch(10, None), 3)
    assert (change.what, change.was, change.now) == ("trainer.non_finite", "stop", "skip")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("trainer.global_batch=16", r"trainer\.global_batch: 8, now 16"),
        ("+trainer.global_batch=16", r"trainer\.global_batch: 8, now 16"),
        ("experiment=other", r"trainer\.global_batch: 8, now 16"),
    ],
)
def test_any_other_change_is_refused_with_its_key(
    stored: ExperimentConfig, override: str, key: str
) -> None:
    with pytest.raises(ConfigError, match=key):
        resumed_config(stored, with_trainer(stored, global_batch=16), [override])


def test_a_different_plugin_is_refused_with_its_group(stored: ExperimentConfig) -> None:
    other = replace(stored, schedule=tiny.part("schedule", "linear"))
    with pytest.raises(ConfigError, match="schedule: schedule/cosine, now schedule/linear"):
        resumed_config(stored, other, ["schedule=linear"])
    mlp = replace(stored, architecture=tiny.stack(n_layers=1, mlp="relu"))
    with pytest.raises(ConfigError, match=r"architecture\.mlp: architecture/mlp/gelu, now"):
        resumed_config(stored, mlp, ["architecture/mlp=relu"])


def test_the_same_command_is_accepted_again(stored: ExperimentConfig) -> None:
    overrides = ["objective=clm", "trainer.global_batch=8", "optimizer.lr=1e-3", "run=x"]
    assert resumed_config(stored, replace(stored, run="x"), overrides) == stored


def test_flat_contains_every_value_and_every_plugin(stored: ExperimentConfig) -> None:
    found = flat(stored)
    assert found["architecture"] == "architecture/decoder_only"
    assert found["architecture.mlp"] == "architecture/mlp/gelu"
    assert found["architecture.mlp.ratio"] == 4.0
    assert found["seed"] == 0
