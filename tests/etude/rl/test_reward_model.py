"""A reward model read from a run folder gives the scores that it gave in training."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from etude.config import config_file
from etude.config.registry import build
from etude.config.schema.trainer import Best
from etude.errors import CheckpointError, ConfigError
from etude.files.run_folder import MODEL
from etude.formats.checkpoint import newest_intact
from etude.formats.model import read_model
from etude.formats.state_tree import read_tree
from etude.formats.weight_map import EXTRA_TENSORS
from etude.objective.randomness import TRAIN, rng
from etude.records import Feedback
from etude.rl.reward_model import HEAD, ScoreHead, read_reward_model
from etude.training.run import start

FAMILIES = ["decoder_only", "encoder_only", "encoder_decoder"]
PROMPTS, COMPLETIONS = ["ab", "c", "ab"], ["x", "yyy zz", "w"]


LLAMA = {"mlp": "swiglu", "norm": "rmsnorm", "position": "rope"}


def trained(
    folder: Path, family: str = "decoder_only", parts: Mapping[str, str] = {}, **trainer: Any
) -> Path:
    config = tiny.experiment(
        "reward",
        folder,
        architecture=tiny.stack(family, n_layers=1, **parts),
        trainer={"max_steps": 3, "precision": "32", "save_every": 3} | trainer,
    )
    return start(replace(config, run=str(folder / "run")), "tiny", [])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_reward_model_gives_the_scores_of_the_trained_one(
    family: str, tmp_path: Path
) -> None:
    run = trained(tmp_path, family)
    newest = newest_intact(run / "checkpoints")
    assert newest is not None
    state = read_tree(newest)["state_dict"]
    config = config_file.load_config(run)
    tools = tiny.tools(architecture=config.architecture)
    network = build(config.architecture, read_model(run).tokenizer.vocab)
    made = build(config.objective, network, tools)
    made.load_state_dict(state)
    made.eval()
    assert made.head.weight.abs().sum() > 0
    records = [Feedback(p, c, 0.0) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    batch = made.collate([made.example(record, rng(0, TRAIN)) for record in records])
    scorer = read_reward_model(run)
    torch.testing.assert_close(scorer(PROMPTS, COMPLETIONS), made.scores(batch).detach())
    for batch_size in (1, 2):
        torch.testing.assert_close(
            scorer(PROMPTS, COMPLETIONS, batch_size), scorer(PROMPTS, COMPLETIONS)
        )
    assert not any(
        p.requires_grad for p in (*scorer.network.parameters(), *scorer.head.parameters())
    )
    last = [line for line in tiny.untimed_steps(run) if "val/reward_mean" in line][-1]
    assert (scorer.mean, scorer.std) == (last["val/reward_mean"], last["val/reward_std"])
    assert scorer([], []).shape == (0,)


def test_the_head_is_found_next_to_weights_in_the_hugging_face_format(tmp_path: Path) -> None:
    run = trained(tmp_path, parts=LLAMA)
    assert (run / MODEL / "config.json").is_file()
    assert (run / MODEL / EXTRA_TENSORS).is_file()
    assert read_reward_model(run)(PROMPTS, COMPLETIONS).unique().numel() == 3


def test_long_texts_are_truncated_to_the_length_of_training(tmp_path: Path) -> None:
    scorer = read_reward_model(trained(tmp_path))
    score = scorer(["a" * 100, "a" * 100], ["b" * 100, "c"])
    assert score.isfinite().all()
    before, after = scorer._ids("a" * 100, "c")
    assert len(before) + len(after) == 15  # an encoder adds one token between them: 16


def test_a_changed_head_file_is_detected(tmp_path: Path) -> None:
    run = trained(tmp_path)
    place = run / MODEL / EXTRA_TENSORS
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"damaged: heads\.safetensors has changed"):
        read_reward_model(run)


def test_the_best_model_has_its_head_too(tmp_path: Path) -> None:
    run = trained(tmp_path, keep_best="val/accuracy", best=Best.highest, val_every=1)
    assert (run / "best" / EXTRA_TENSORS).is_file()


def test_a_run_without_a_head_is_not_a_reward_model(tmp_path: Path) -> None:
    config = tiny.experiment("clm", tmp_path, trainer={"max_steps": 1})
    run = start(replace(config, run=str(tmp_path / "clm")), "tiny", [])
    assert not (run / MODEL / EXTRA_TENSORS).exists()
    with pytest.raises(ConfigError, match="is not a reward model"):
        read_reward_model(run)
    run = trained(tmp_path)
    shutil.rmtree(run / MODEL)
    with pytest.raises(ConfigError, match="finished run"):
        read_reward_model(run)


def test_a_head_is_found_by_its_name_alone(tmp_path: Path) -> None:
    model = read_model(trained(tmp_path))
    assert set(model.extra_tensors(HEAD)) == set(ScoreHead(16).state_dict())
    assert model.extra_tensors("hea") == {}
