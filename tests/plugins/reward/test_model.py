from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from etude.config.registry import build
from etude.errors import CheckpointError, ConfigError
from etude.rl.reward_model import read_reward_model
from etude.training.run import start

TEXTS = (["ab", "c"], ["x", "yy"], [None, "3"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a reward model."""
    return trained(tmp_path_factory.mktemp("reward"))


def trained(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    config = tiny.experiment("reward", folder, trainer={"max_steps": 4})
    start(replace(config, seed=seed, run=str(folder / "model")), "tiny", [])
    return folder / "model"


def reward(run: Path, **values: Any) -> Any:  # the plugin's class
    return build(tiny.part("reward", "model", run=str(run), **values))


def test_scores_are_normalised_by_those_of_held_out_data(run: Path) -> None:
    scorer = read_reward_model(run)
    raw = reward(run, normalise=False)(*TEXTS)
    assert raw == scorer(*TEXTS[:2]).tolist()
    assert raw[0] != raw[1]
    wanted = [(score - scorer.mean) / scorer.std for score in raw]
    assert reward(run)(*TEXTS) == pytest.approx(wanted, rel=1e-5)
    assert reward(run, batch=1)(*TEXTS) == pytest.approx(wanted, rel=1e-4)


def test_a_policy_can_be_trained_with_a_reward_model(run: Path, tmp_path: Path) -> None:
    config = tiny.experiment("grpo", tmp_path, trainer={"max_steps": 2, "precision": "32"})
    config = replace(config, reward={"model": tiny.part("reward", "model", run=str(run))})
    start(replace(config, run=str(tmp_path / "policy")), "tiny", [])
    lines = tiny.untimed_steps(tmp_path / "policy")
    assert len({line["reward"] for line in lines}) == 2


def test_a_run_cannot_be_resumed_with_another_reward_model(tmp_path: Path) -> None:
    judge = trained(tmp_path)
    config = tiny.experiment("grpo", tmp_path, trainer={"max_steps": 1, "precision": "32"})
    config = replace(
        config,
        run=str(tmp_path / "policy"),
        reward={"model": tiny.part("reward", "model", run=str(judge))},
    )
    start(config, "tiny", [])
    judge.rename(tmp_path / "gone")
    trained(tmp_path / "other", seed=1).rename(judge)
    longer = replace(config, trainer=replace(config.trainer, max_steps=2))
    with pytest.raises(CheckpointError, match=r"reward\.model\.run=.*: was \w{12}, is \w{12}"):
        start(longer, "tiny", ["trainer.max_steps=2"])


def test_a_folder_without_a_reward_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contains no model"):
        reward(tmp_path)
    with pytest.raises(ValueError, match="batch must be at least 1"):
        reward(tmp_path, batch=0)
